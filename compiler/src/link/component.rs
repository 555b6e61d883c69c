//! The tables of a component: types, resources, instances, imports and exports. `precast_abi::component` has the rows.

use cranelift_codegen::entity::EntityRef;
use precast_abi::bytes::{Field, Span};
use precast_abi::component::{
    CanonRow, ComponentExportRow, ComponentFuncRow, ComponentImportKind, ComponentImportRow, ComponentInstanceRow,
    ComponentTypeRow, FIRST_TYPE_ROW, HostFuncRow, MemberRow, ResourceRow, TypeKind, TypeRef,
};
use precast_abi::meta::NONE;

use super::meta::Tables;
use crate::Error;
use crate::component::linkage::{ResourceDef, Type, TypeDef};
use crate::component::program::{ComponentProgram, ExportedFunc, GlueImport};
use crate::program::{FuncPlace, TypeId};

impl Tables<'_> {
    /// All of them; none if the program is a module.
    ///
    /// # Errors
    /// [`Error::Limit`] if names are larger than the format allows.
    pub(super) fn component(&mut self) -> Result<(), Error> {
        let Some(component) = &self.input.program.component else { return Ok(()) };
        for ty in component.types.values() {
            let row = self.type_row(ty)?;
            self.meta.component_types.push(row);
        }
        for ty in component.func_types.values() {
            let params = ty.params.iter().map(|(name, ty)| (name.as_str(), Some(*ty)));
            let row = ComponentFuncRow { params: self.members(params)?, result: optional(ty.result) };
            self.meta.component_funcs.push(row);
        }
        self.resources(component)?;
        for place in component.instances.values() {
            self.meta.component_instances.push(ComponentInstanceRow {
                parent: place.parent.map_or(NONE, |parent| parent.as_u32()),
                handle_capacity: place.handle_capacity,
                state: place.state,
                handles: place.handles,
            });
        }
        self.canons(component)?;
        self.component_imports(component)?;
        self.meta.obtained.extend(&self.input.image.obtained);
        self.component_exports(component)
    }

    fn type_row(&mut self, ty: &TypeDef) -> Result<ComponentTypeRow, Error> {
        let row = |kind: TypeKind, first: u32, second: u32, members: Span| ComponentTypeRow {
            kind: kind as u32,
            first,
            second,
            members,
        };
        let none = Span::default();
        let named = |name| (name, None);
        Ok(match ty {
            TypeDef::Record(fields) => {
                let fields = fields.iter().map(|(name, ty)| (name.as_str(), Some(*ty)));
                row(TypeKind::Record, NONE, NONE, self.members(fields)?)
            }
            TypeDef::Variant(cases) => {
                let cases = cases.iter().map(|(name, ty)| (name.as_str(), *ty));
                row(TypeKind::Variant, NONE, NONE, self.members(cases)?)
            }
            TypeDef::List(element) => row(TypeKind::List, reference(*element), NONE, none),
            TypeDef::FixedList(element, len) => row(TypeKind::FixedList, reference(*element), *len, none),
            TypeDef::Tuple(types) => {
                let types = types.iter().map(|ty| ("", Some(*ty)));
                row(TypeKind::Tuple, NONE, NONE, self.members(types)?)
            }
            TypeDef::Flags(names) => {
                row(TypeKind::Flags, NONE, NONE, self.members(names.iter().map(String::as_str).map(named))?)
            }
            TypeDef::Enum(names) => {
                row(TypeKind::Enum, NONE, NONE, self.members(names.iter().map(String::as_str).map(named))?)
            }
            TypeDef::Option(payload) => row(TypeKind::Option, reference(*payload), NONE, none),
            TypeDef::Result(ok, err) => row(TypeKind::Result, optional(*ok), optional(*err), none),
            TypeDef::Own(resource) => row(TypeKind::Own, resource.as_u32(), NONE, none),
            TypeDef::Borrow(resource) => row(TypeKind::Borrow, resource.as_u32(), NONE, none),
            TypeDef::Map(key, value) => row(TypeKind::Map, reference(*key), reference(*value), none),
        })
    }

    /// Rows of members in the blob.
    fn members<'n>(&mut self, members: impl Iterator<Item = (&'n str, Option<Type>)>) -> Result<Span, Error> {
        let mut bytes = Vec::new();
        for (name, ty) in members {
            MemberRow { name: self.text(name)?, ty: optional(ty) }.encode(&mut bytes);
        }
        self.bytes(&bytes)
    }

    fn resources(&mut self, component: &ComponentProgram) -> Result<(), Error> {
        for place in component.resources.values() {
            let (interface, name) = match &place.def {
                ResourceDef::Host { interface, name } => (interface.as_str(), name.as_str()),
                ResourceDef::Guest { exported: Some((interface, name)), .. } => (interface.as_str(), name.as_str()),
                ResourceDef::Guest { exported: None, .. } => ("", ""),
            };
            let destructor_ty = self.destructor_type();
            let (destructor, destructor_ty) = match place.destructor_for_host {
                Some(func) => (self.text_offset(func.symbol())?, destructor_ty),
                None => (NONE, NONE),
            };
            let row = ResourceRow {
                interface: self.text(interface)?,
                name: self.text(name)?,
                instance: place.definer.map_or(NONE, |instance| instance.as_u32()),
                destructor,
                destructor_ty,
            };
            self.meta.resources.push(row);
        }
        Ok(())
    }

    /// The row of `(i32) -> ()`.
    fn destructor_type(&self) -> u32 {
        let is_it = |ty: &precast_abi::types::FuncType| {
            ty.params == [precast_abi::types::ValType::I32] && ty.results.is_empty()
        };
        let types = &self.input.program.types;
        types.iter().skip(1).find(|(_, ty)| is_it(ty)).map_or(NONE, |(id, _)| id.as_u32())
    }

    fn canons(&mut self, component: &ComponentProgram) -> Result<(), Error> {
        for canon in &component.canons {
            let (realloc, realloc_ty) = self.func(canon.realloc)?;
            let (post_return, post_return_ty) = self.func(canon.post_return)?;
            self.meta.canons.push(CanonRow {
                instance: canon.instance.as_u32(),
                memory: canon.memory.unwrap_or(NONE),
                realloc,
                realloc_ty,
                post_return,
                post_return_ty,
                encoding: canon.encoding as u32,
            });
        }
        Ok(())
    }

    /// Text offset and type of a function that the host may call.
    fn func(&self, func: Option<(FuncPlace, TypeId)>) -> Result<(u32, u32), Error> {
        let Some((place, ty)) = func else { return Ok((NONE, NONE)) };
        Ok((self.text_offset(place.symbol())?, ty.as_u32()))
    }

    fn component_imports(&mut self, component: &ComponentProgram) -> Result<(), Error> {
        let rows = component.imports.iter().map(|import| match import {
            GlueImport::Func(ty, canon) => {
                ComponentImportRow { kind: ComponentImportKind::Func as u32, item: ty.as_u32(), canon: *canon }
            }
            GlueImport::Drop(resource) => {
                ComponentImportRow { kind: ComponentImportKind::Drop as u32, item: resource.as_u32(), canon: NONE }
            }
        });
        self.meta.component_imports.extend(rows);
        for func in component.host_funcs.values() {
            let (interface, name) = (self.text(&func.interface)?, self.text(&func.name)?);
            self.meta.host_funcs.push(HostFuncRow { interface, name, func: func.ty.as_u32() });
        }
        Ok(())
    }

    fn component_exports(&mut self, component: &ComponentProgram) -> Result<(), Error> {
        for export in &component.exports {
            let (interface, name, func) = (self.text(&export.interface)?, self.text(&export.name)?, export.ty.as_u32());
            let row = match export.func {
                ExportedFunc::Lifted(place, ty, canon) => {
                    let text_offset = self.text_offset(place.symbol())?;
                    ComponentExportRow { interface, name, func, canon, ty: ty.as_u32(), text_offset, import: NONE }
                }
                ExportedFunc::Host(host) => ComponentExportRow {
                    interface,
                    name,
                    func,
                    canon: NONE,
                    ty: NONE,
                    text_offset: NONE,
                    import: host.index() as u32,
                },
            };
            self.meta.component_exports.push(row);
        }
        Ok(())
    }
}

fn reference(ty: Type) -> TypeRef {
    match ty {
        Type::Primitive(primitive) => primitive as u32,
        Type::Row(row) => FIRST_TYPE_ROW + row.as_u32(),
    }
}

fn optional(ty: Option<Type>) -> TypeRef {
    ty.map_or(NONE, reference)
}
