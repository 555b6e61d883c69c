//! Lifting, lowering and the tables, without a guest: values pass through a [`Scratch`], and dynamic values are the
//! oracle of typed ones. And with guests, what calls from one to the other ask of the host.

mod damaged;
mod entries;
mod memory;
mod values;

use std::any::TypeId;
use std::sync::Arc;

use precast_abi::bytes::{Field, Span};
use precast_abi::component::{
    ComponentFuncRow, ComponentTypeRow, FIRST_TYPE_ROW, MemberRow, ResourceRow, TypeKind, TypeRef,
};
use precast_abi::meta::{Header, Meta, MetaBuilder, NONE};
use precast_abi::slot::SlotLayout;
use precast_abi::{ABI_VERSION, MAGIC};

use super::types::{FuncType, Types};

fn builder() -> MetaBuilder {
    MetaBuilder::new(Header {
        magic: MAGIC,
        abi_version: ABI_VERSION,
        machine: 62,
        features: 0,
        digest: [0; 32],
        producer: Span::default(),
        text_offset: 0,
        text_len: 4096,
        image_offset: 0,
        image_len: 0,
        layout: SlotLayout {
            page_size: 4096,
            stack_start: 65536,
            block_start: (1 << 20) - 1024,
            host_start: (1 << 20) - 1024,
            host_size: 1024,
            base_offset: (1 << 20) + 4096,
            slot_size: 1 << 24,
        },
        init: NONE,
        wit: Span::default(),
        metering: 0,
        source: [0; 32],
    })
}

/// Adds rows of types to a builder.
trait Rows {
    fn members(&mut self, members: &[(&str, TypeRef)]) -> Span;
    fn ty(&mut self, kind: TypeKind, first: u32, second: u32, members: &[(&str, TypeRef)]) -> TypeRef;
    fn func(&mut self, params: &[(&str, TypeRef)], result: TypeRef) -> u32;
    fn resource(&mut self, name: &str, instance: u32);
    fn types(&self) -> Types;
    /// Function type 0, whose resources are these types of the host's.
    fn func_type(&self, hosts: &[Option<TypeId>]) -> FuncType;
}

impl Rows for MetaBuilder {
    fn members(&mut self, members: &[(&str, TypeRef)]) -> Span {
        let mut bytes = Vec::new();
        for (name, ty) in members {
            MemberRow { name: self.blob.intern(name.as_bytes()), ty: *ty }.encode(&mut bytes);
        }
        self.blob.append(&bytes)
    }

    fn ty(&mut self, kind: TypeKind, first: u32, second: u32, members: &[(&str, TypeRef)]) -> TypeRef {
        let members = self.members(members);
        self.component_types.push(ComponentTypeRow { kind: kind as u32, first, second, members });
        FIRST_TYPE_ROW + self.component_types.len() as u32 - 1
    }

    fn func(&mut self, params: &[(&str, TypeRef)], result: TypeRef) -> u32 {
        let params = self.members(params);
        self.component_funcs.push(ComponentFuncRow { params, result });
        self.component_funcs.len() as u32 - 1
    }

    fn resource(&mut self, name: &str, instance: u32) {
        let name = self.blob.intern(name.as_bytes());
        let interface = self.blob.intern(b"test:test/resources");
        self.resources.push(ResourceRow { interface, name, instance, destructor: NONE, destructor_ty: NONE });
    }

    fn types(&self) -> Types {
        Types::new(&Meta::parse(&self.encode()).unwrap()).unwrap()
    }

    fn func_type(&self, hosts: &[Option<TypeId>]) -> FuncType {
        FuncType::new(Arc::new(self.types()), hosts.into(), 0)
    }
}
