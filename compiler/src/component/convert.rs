//! The validator's types as types of run time: resources in the place of ids, equal types once.

use std::collections::HashMap;

use cranelift_codegen::entity::PrimaryMap;
use precast_abi::component::Primitive;
use wasmparser::PrimitiveValType;
use wasmparser::component_types::{
    ComponentDefinedType, ComponentDefinedTypeId, ComponentFuncTypeId, ComponentValType, ResourceId,
};
use wasmparser::types::Types;

use super::linkage::{ComponentFuncType, FuncTypeRow, Resource, Type, TypeDef, TypeRow};
use crate::Error;

/// Types, each once.
#[derive(Default)]
pub(super) struct Interned {
    pub(super) types: PrimaryMap<TypeRow, TypeDef>,
    pub(super) func_types: PrimaryMap<FuncTypeRow, ComponentFuncType>,
    rows: HashMap<TypeDef, TypeRow>,
    func_rows: HashMap<ComponentFuncType, FuncTypeRow>,
    /// What ids of the component at hand are.
    ids: HashMap<ComponentDefinedTypeId, Type>,
}

impl Interned {
    /// Another component's ids, or other resources, follow.
    pub(super) fn forget_ids(&mut self) {
        self.ids.clear();
    }

    /// A function type.
    ///
    /// # Errors
    /// [`Error::Unsupported`] for types of asynchronous functions.
    pub(super) fn func(
        &mut self,
        types: &Types,
        resources: &HashMap<ResourceId, Resource>,
        id: ComponentFuncTypeId,
    ) -> Result<FuncTypeRow, Error> {
        let func = &types[id];
        let mut params = Vec::with_capacity(func.params.len());
        for (name, ty) in &func.params {
            params.push((name.to_string(), self.value(types, resources, *ty)?));
        }
        let result = func.result.map(|ty| self.value(types, resources, ty)).transpose()?;
        let func = ComponentFuncType { params, result };
        if let Some(row) = self.func_rows.get(&func) {
            return Ok(*row);
        }
        let row = self.func_types.push(func.clone());
        self.func_rows.insert(func, row);
        Ok(row)
    }

    fn value(
        &mut self,
        types: &Types,
        resources: &HashMap<ResourceId, Resource>,
        ty: ComponentValType,
    ) -> Result<Type, Error> {
        let id = match ty {
            ComponentValType::Primitive(ty) => return Ok(Type::Primitive(primitive(ty)?)),
            ComponentValType::Type(id) => id,
        };
        if let Some(ty) = self.ids.get(&id) {
            return Ok(*ty);
        }
        let ty = self.defined(types, resources, &types[id])?;
        self.ids.insert(id, ty);
        Ok(ty)
    }

    fn defined(
        &mut self,
        types: &Types,
        resources: &HashMap<ResourceId, Resource>,
        ty: &ComponentDefinedType,
    ) -> Result<Type, Error> {
        let resource = |id: ResourceId| {
            let found = resources.get(&id).copied();
            found.ok_or_else(|| Error::internal("components", "a type mentions a resource that nothing has"))
        };
        let mut value = |ty: &ComponentValType| self.value(types, resources, *ty);
        let def = match ty {
            ComponentDefinedType::Primitive(ty) => return Ok(Type::Primitive(primitive(*ty)?)),
            ComponentDefinedType::Record(record) => {
                let fields = record.fields.iter().map(|(name, ty)| Ok((name.to_string(), value(ty)?)));
                TypeDef::Record(fields.collect::<Result<_, Error>>()?)
            }
            ComponentDefinedType::Variant(variant) => {
                let cases = variant
                    .cases
                    .iter()
                    .map(|(name, case)| Ok((name.to_string(), case.ty.as_ref().map(&mut value).transpose()?)));
                TypeDef::Variant(cases.collect::<Result<_, Error>>()?)
            }
            ComponentDefinedType::List { element, .. } => TypeDef::List(value(element)?),
            ComponentDefinedType::Map { key, value: mapped, .. } => TypeDef::Map(value(key)?, value(mapped)?),
            ComponentDefinedType::FixedLengthList { element, length, .. } => {
                TypeDef::FixedList(value(element)?, *length)
            }
            ComponentDefinedType::Tuple(tuple) => {
                TypeDef::Tuple(tuple.types.iter().map(value).collect::<Result<_, Error>>()?)
            }
            ComponentDefinedType::Flags(names) => TypeDef::Flags(names.iter().map(ToString::to_string).collect()),
            ComponentDefinedType::Enum(names) => TypeDef::Enum(names.iter().map(ToString::to_string).collect()),
            ComponentDefinedType::Option { ty, .. } => TypeDef::Option(value(ty)?),
            ComponentDefinedType::Result { ok, err, .. } => {
                let ok = ok.as_ref().map(&mut value).transpose()?;
                TypeDef::Result(ok, err.as_ref().map(value).transpose()?)
            }
            ComponentDefinedType::Own(id) => TypeDef::Own(resource(id.resource())?),
            ComponentDefinedType::Borrow(id) => TypeDef::Borrow(resource(id.resource())?),
            ComponentDefinedType::Future { .. } | ComponentDefinedType::Stream { .. } => {
                return Err(Error::unsupported("component model async", None, 0));
            }
        };
        Ok(Type::Row(self.intern(def)))
    }

    fn intern(&mut self, def: TypeDef) -> TypeRow {
        if let Some(row) = self.rows.get(&def) {
            return *row;
        }
        let row = self.types.push(def.clone());
        self.rows.insert(def, row);
        row
    }
}

fn primitive(ty: PrimitiveValType) -> Result<Primitive, Error> {
    Ok(match ty {
        PrimitiveValType::Bool => Primitive::Bool,
        PrimitiveValType::S8 => Primitive::S8,
        PrimitiveValType::U8 => Primitive::U8,
        PrimitiveValType::S16 => Primitive::S16,
        PrimitiveValType::U16 => Primitive::U16,
        PrimitiveValType::S32 => Primitive::S32,
        PrimitiveValType::U32 => Primitive::U32,
        PrimitiveValType::S64 => Primitive::S64,
        PrimitiveValType::U64 => Primitive::U64,
        PrimitiveValType::F32 => Primitive::F32,
        PrimitiveValType::F64 => Primitive::F64,
        PrimitiveValType::Char => Primitive::Char,
        PrimitiveValType::String => Primitive::String,
        PrimitiveValType::ErrorContext => return Err(Error::unsupported("component model async", None, 0)),
    })
}
