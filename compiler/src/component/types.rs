//! The validator's component-level types in, rows with resources of run time out; equal types have one row.

use std::collections::HashMap;

use cranelift_codegen::entity::{PrimaryMap, SecondaryMap};
use precast_abi::component::{MAX_BYTE_LENGTH, Primitive};
use wasmparser::PrimitiveValType;
use wasmparser::component_types::{
    AliasableResourceId, ComponentDefinedType, ComponentDefinedTypeId, ComponentFuncTypeId, ComponentValType,
    ResourceId,
};
use wasmparser::types::TypesRef;

use super::flat;
use super::linkage::{ComponentFuncType, FuncTypeRow, Resource, Type, TypeDef, TypeRow};
use crate::Error;
use crate::error::Place;
use crate::parse::proposal;

/// All types so far.
#[derive(Default)]
pub(super) struct TypeRows {
    /// Types.
    pub types: PrimaryMap<TypeRow, TypeDef>,
    /// Function types.
    pub func_types: PrimaryMap<FuncTypeRow, ComponentFuncType>,
    rows: HashMap<TypeDef, TypeRow>,
    func_rows: HashMap<ComponentFuncType, FuncTypeRow>,
    /// Size and alignment in memory.
    layouts: SecondaryMap<TypeRow, (u64, u32)>,
}

/// What a component instance knows of types: which resources their ids stand for.
#[derive(Default)]
pub(super) struct Names {
    /// Resources.
    pub resources: HashMap<ResourceId, Resource>,
    converted: HashMap<ComponentDefinedTypeId, Type>,
    converted_funcs: HashMap<ComponentFuncTypeId, FuncTypeRow>,
}

impl TypeRows {
    fn intern(&mut self, def: TypeDef, offset: usize) -> Result<Type, Error> {
        if let Some(row) = self.rows.get(&def) {
            return Ok(Type::Row(*row));
        }
        let layout = flat::def_size_align(&def, &|row| self.layouts[row]);
        if layout.0 > u64::from(MAX_BYTE_LENGTH) {
            return Err(Error::Limit {
                what: "the size of a value in memory",
                found: layout.0,
                limit: MAX_BYTE_LENGTH.into(),
                place: Place { function: None, offset: offset as u64 },
            });
        }
        let row = self.types.push(def.clone());
        self.layouts[row] = layout;
        self.rows.insert(def, row);
        Ok(Type::Row(row))
    }

    fn intern_func(&mut self, ty: ComponentFuncType) -> FuncTypeRow {
        if let Some(row) = self.func_rows.get(&ty) {
            return *row;
        }
        let row = self.func_types.push(ty.clone());
        self.func_rows.insert(ty, row);
        row
    }
}

/// Converts types for one component instance.
pub(super) struct Converter<'c> {
    /// Where rows go.
    pub rows: &'c mut TypeRows,
    /// The types of the instance's file.
    pub types: TypesRef<'c>,
    /// What the instance knows.
    pub names: &'c mut Names,
    /// The definition that needs the type.
    pub offset: usize,
}

impl Converter<'_> {
    /// The row of a function type.
    ///
    /// # Errors
    /// [`Error::Unsupported`] if it needs what is not compiled; [`Error::Limit`] if a value is too large.
    pub(super) fn func(&mut self, id: ComponentFuncTypeId) -> Result<FuncTypeRow, Error> {
        if let Some(row) = self.names.converted_funcs.get(&id) {
            return Ok(*row);
        }
        let types = self.types;
        let ty = &types[id];
        if ty.async_ {
            return Err(Error::unsupported(proposal::ASYNC_FUNCTIONS, None, self.offset));
        }
        let params = ty.params.iter().map(|(name, ty)| Ok((name.to_string(), self.value(*ty)?)));
        let params = params.collect::<Result<_, Error>>()?;
        let result = self.optional(ty.result)?;
        let row = self.rows.intern_func(ComponentFuncType { params, result });
        self.names.converted_funcs.insert(id, row);
        Ok(row)
    }

    fn optional(&mut self, ty: Option<ComponentValType>) -> Result<Option<Type>, Error> {
        ty.map(|ty| self.value(ty)).transpose()
    }

    fn value(&mut self, ty: ComponentValType) -> Result<Type, Error> {
        let id = match ty {
            ComponentValType::Primitive(primitive) => return self.primitive(primitive),
            ComponentValType::Type(id) => id,
        };
        if let Some(ty) = self.names.converted.get(&id) {
            return Ok(*ty);
        }
        // Types nest at most 100 deep: the validator sees to that.
        let ty = self.defined(id)?;
        self.names.converted.insert(id, ty);
        Ok(ty)
    }

    fn primitive(&self, ty: PrimitiveValType) -> Result<Type, Error> {
        Ok(Type::Primitive(match ty {
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
            PrimitiveValType::ErrorContext => {
                return Err(Error::unsupported(proposal::ASYNC_ERROR_CONTEXTS, None, self.offset));
            }
        }))
    }

    fn defined(&mut self, id: ComponentDefinedTypeId) -> Result<Type, Error> {
        let types = self.types;
        let def = match &types[id] {
            ComponentDefinedType::Primitive(primitive) => return self.primitive(*primitive),
            ComponentDefinedType::Record(record) => {
                let fields = record.fields.iter().map(|(name, ty)| Ok((name.to_string(), self.value(*ty)?)));
                TypeDef::Record(fields.collect::<Result<_, Error>>()?)
            }
            ComponentDefinedType::Variant(variant) => {
                let cases = variant.cases.iter().map(|(name, case)| Ok((name.to_string(), self.optional(case.ty)?)));
                TypeDef::Variant(cases.collect::<Result<_, Error>>()?)
            }
            ComponentDefinedType::List { element, .. } => TypeDef::List(self.value(*element)?),
            ComponentDefinedType::Map { key, value, .. } => TypeDef::Map(self.value(*key)?, self.value(*value)?),
            ComponentDefinedType::FixedLengthList { element, length, .. } => {
                TypeDef::FixedList(self.value(*element)?, *length)
            }
            ComponentDefinedType::Tuple(tuple) => {
                TypeDef::Tuple(tuple.types.iter().map(|ty| self.value(*ty)).collect::<Result<_, Error>>()?)
            }
            ComponentDefinedType::Flags(names) => TypeDef::Flags(names.iter().map(ToString::to_string).collect()),
            ComponentDefinedType::Enum(names) => TypeDef::Enum(names.iter().map(ToString::to_string).collect()),
            ComponentDefinedType::Option { ty, .. } => TypeDef::Option(self.value(*ty)?),
            ComponentDefinedType::Result { ok, err, .. } => TypeDef::Result(self.optional(*ok)?, self.optional(*err)?),
            ComponentDefinedType::Own(id) => TypeDef::Own(self.resource(*id)?),
            ComponentDefinedType::Borrow(id) => TypeDef::Borrow(self.resource(*id)?),
            ComponentDefinedType::Future { .. } => {
                return Err(Error::unsupported(proposal::ASYNC_FUTURES, None, self.offset));
            }
            ComponentDefinedType::Stream { .. } => {
                return Err(Error::unsupported(proposal::ASYNC_STREAMS, None, self.offset));
            }
        };
        // A map lies in memory as a list of tuples of key and value.
        if let TypeDef::Map(key, value) = def {
            self.rows.intern(TypeDef::Tuple(vec![key, value]), self.offset)?;
        }
        self.rows.intern(def, self.offset)
    }

    fn resource(&self, id: AliasableResourceId) -> Result<Resource, Error> {
        self.names.resource(id.resource(), self.offset)
    }
}

impl Names {
    /// The resource that an id stands for.
    ///
    /// # Errors
    /// [`Error::Internal`]: the validator lets no type speak of a resource that is not there yet.
    pub(super) fn resource(&self, id: ResourceId, offset: usize) -> Result<Resource, Error> {
        self.resources.get(&id).copied().ok_or_else(|| {
            Error::internal(format_args!("the definition at offset {offset:#x}"), "a resource without a definition")
        })
    }
}
