//! Component-level types as an artifact's tables have them.
//!
//! What comes in: the tables, believed in nothing. What goes out: [`Types`], in which every reference is to an earlier
//! row, no type is deeper than [`MAX_DEPTH`] or larger than a memory, and none is of size zero: so whoever walks a type
//! or a value of it needs neither a limit nor a check. [`Type`] and [`FuncType`] are what the host sees.

mod decode;
mod print;

use std::any::TypeId;
use std::ops::Range;
use std::sync::Arc;

use precast_abi::component::{FIRST_TYPE_ROW, Primitive, TypeKind, TypeRef};
use precast_abi::meta::{Meta, NONE};

use decode::{DAMAGED, Decoder, layout};

use super::guest::ResourceUse;
use crate::plan::Malformed;

/// Types nested deeper are refused.
const MAX_DEPTH: u32 = 100;

/// What no valid flattening comes near: more core values than that are passed in memory anyway.
const FLAT_LIMIT: u32 = 1 << 16;

/// The types of an artifact.
#[derive(Debug, Default)]
pub(crate) struct Types {
    defs: Box<[Def]>,
    members: Vec<Member>,
    funcs: Box<[Func]>,
    pub(crate) resources: Box<[Resource]>,
}

/// Name and type of a field, case, flag or parameter.
type Member = (Box<str>, Option<TypeRef>);

/// A type that is no primitive.
#[derive(Debug)]
struct Def {
    kind: TypeKind,
    first: u32,
    second: u32,
    members: Range<usize>,
    layout: Layout,
    depth: u32,
}

/// How values of a type lie in memory and in core values.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Layout {
    pub(crate) size: u32,
    pub(crate) align: u32,
    /// Core values.
    pub(crate) flat: u32,
}

impl Layout {
    const NOTHING: Layout = Layout { size: 0, align: 1, flat: 0 };
}

/// A function type.
#[derive(Debug)]
struct Func {
    params: Range<usize>,
    result: Option<TypeRef>,
    /// Of the parameters as a tuple, and of the result.
    layout: (Layout, Layout),
}

/// A resource.
#[derive(Debug)]
pub(crate) struct Resource {
    pub(crate) interface: Box<str>,
    pub(crate) name: Box<str>,
    /// The component instance that defines it; `None`: the host.
    pub(crate) instance: Option<u32>,
}

impl Types {
    /// Decodes and checks.
    pub(crate) fn new(meta: &Meta<'_>) -> Result<Types, Malformed> {
        let resources = meta.resources.iter().map(|row| {
            let text = |span| meta.str(span).map(Box::from).ok_or(DAMAGED);
            let instance = (row.instance != NONE).then_some(row.instance);
            if instance.is_some_and(|instance| instance as usize >= meta.component_instances.len()) {
                return Err(DAMAGED);
            }
            Ok(Resource { interface: text(row.interface)?, name: text(row.name)?, instance })
        });
        let mut decoder = Decoder {
            meta,
            defs: Vec::with_capacity(meta.component_types.len()),
            members: Vec::new(),
            resources: meta.resources.len(),
        };
        for row in meta.component_types.iter() {
            let def = decoder.def(&row)?;
            decoder.defs.push(def);
        }
        let funcs = meta.component_funcs.iter().map(|row| decoder.func(&row)).collect::<Result<_, _>>()?;
        let resources = resources.collect::<Result<_, _>>()?;
        Ok(Types { defs: decoder.defs.into(), members: decoder.members, funcs, resources })
    }

    /// Number of function types.
    pub(crate) fn funcs(&self) -> usize {
        self.funcs.len()
    }

    /// The resource of the host's that function type `func` gives, which takes nothing and returns an owned handle.
    pub(crate) fn given(&self, func: u32) -> Option<u32> {
        let func = self.funcs.get(func as usize).filter(|func| func.params.is_empty())?;
        let def = self.defs.get(row_of(func.result?)?).filter(|def| def.kind == TypeKind::Own)?;
        self.resources.get(def.first as usize).filter(|resource| resource.instance.is_none()).map(|_| def.first)
    }

    /// Layouts of the parameters of function type `func`, as a tuple, and of its result.
    pub(crate) fn func_layout(&self, func: u32) -> (Layout, Layout) {
        self.funcs.get(func as usize).map_or((Layout::NOTHING, Layout::NOTHING), |func| func.layout)
    }

    fn layout(&self, ty: TypeRef) -> Layout {
        layout(&self.defs, ty).unwrap_or(Layout::NOTHING)
    }
}

fn row_of(ty: TypeRef) -> Option<usize> {
    ty.checked_sub(FIRST_TYPE_ROW).map(|row| row as usize)
}

/// A component-level type, with what its resources are on the host's side.
#[derive(Clone, Copy)]
pub struct Type<'a> {
    types: &'a Types,
    /// The host's type for each resource, if the types are of something bound.
    hosts: &'a [Option<TypeId>],
    ty: TypeRef,
}

/// [`super::ComponentType::matches`] of some Rust type.
pub type Matches = fn(&Type<'_>) -> bool;

/// What a [`Type`] is.
#[derive(Clone, Copy)]
#[allow(missing_docs, reason = "the names are WIT's")]
pub enum Kind<'a> {
    Primitive(Primitive),
    Record(Members<'a>),
    Variant(Members<'a>),
    List(Type<'a>),
    FixedList(Type<'a>, u32),
    Tuple(Members<'a>),
    Flags(Members<'a>),
    Enum(Members<'a>),
    Option(Type<'a>),
    Result(Option<Type<'a>>, Option<Type<'a>>),
    Own(ResourceType<'a>),
    Borrow(ResourceType<'a>),
    Map(Type<'a>, Type<'a>),
}

/// Names and types of fields, cases, flags or parameters. The elements of a tuple have empty names.
#[derive(Clone, Copy)]
pub struct Members<'a> {
    types: &'a Types,
    hosts: &'a [Option<TypeId>],
    list: &'a [Member],
}

/// A resource.
#[derive(Clone, Copy)]
pub struct ResourceType<'a> {
    types: &'a Types,
    pub(crate) row: u32,
    host: Option<TypeId>,
}

impl<'a> Type<'a> {
    pub(crate) fn new(types: &'a Types, hosts: &'a [Option<TypeId>], ty: TypeRef) -> Self {
        Type { types, hosts, ty }
    }

    fn at(self, ty: TypeRef) -> Self {
        Type { ty, ..self }
    }

    pub(crate) fn layout(self) -> Layout {
        self.types.layout(self.ty)
    }

    /// What it is.
    pub fn kind(self) -> Kind<'a> {
        let Some(row) = row_of(self.ty) else { return Kind::Primitive(Primitive::ALL[self.ty as usize]) };
        let def = &self.types.defs[row];
        let members = Members { types: self.types, hosts: self.hosts, list: &self.types.members[def.members.clone()] };
        let part = |ty: TypeRef| (ty != NONE).then(|| self.at(ty));
        let host = || self.hosts.get(def.first as usize).copied().flatten();
        let resource = || ResourceType { types: self.types, row: def.first, host: host() };
        match def.kind {
            TypeKind::Record => Kind::Record(members),
            TypeKind::Variant => Kind::Variant(members),
            TypeKind::List => Kind::List(self.at(def.first)),
            TypeKind::FixedList => Kind::FixedList(self.at(def.first), def.second),
            TypeKind::Tuple => Kind::Tuple(members),
            TypeKind::Flags => Kind::Flags(members),
            TypeKind::Enum => Kind::Enum(members),
            TypeKind::Option => Kind::Option(self.at(def.first)),
            TypeKind::Result => Kind::Result(part(def.first), part(def.second)),
            TypeKind::Own => Kind::Own(resource()),
            TypeKind::Borrow => Kind::Borrow(resource()),
            TypeKind::Map => Kind::Map(self.at(def.first), self.at(def.second)),
        }
    }

    /// The resources in it, each once for owning and borrowing.
    pub(crate) fn resources(self) -> Box<[ResourceUse]> {
        let mut uses = Vec::new();
        let (mut seen, mut waiting) = (vec![false; self.types.defs.len()], vec![self]);
        while let Some(ty) = waiting.pop() {
            let Some(row) = row_of(ty.ty) else { continue };
            if std::mem::replace(&mut seen[row], true) {
                continue;
            }
            uses.extend(ResourceUse::of(ty));
            match ty.kind() {
                Kind::Record(members) | Kind::Variant(members) | Kind::Tuple(members) => {
                    waiting.extend(members.types())
                }
                Kind::List(part) | Kind::FixedList(part, _) | Kind::Option(part) => waiting.push(part),
                Kind::Result(one, other) => waiting.extend(one.into_iter().chain(other)),
                Kind::Map(one, other) => waiting.extend([one, other]),
                Kind::Primitive(_) | Kind::Flags(_) | Kind::Enum(_) | Kind::Own(_) | Kind::Borrow(_) => {}
            }
        }
        uses.into()
    }

    /// Whether it is this primitive.
    pub fn is(self, primitive: Primitive) -> bool {
        self.ty == primitive as u32
    }

    /// Whether it is a record of fields with these names, whose types `matches` accepts.
    pub fn is_record(self, fields: &[(&str, Matches)]) -> bool {
        let Kind::Record(members) = self.kind() else { return false };
        members.len() == fields.len()
            && members
                .zip_all(fields, |(name, ty), (wanted, matches)| name == *wanted && ty.is_some_and(|ty| matches(&ty)))
    }

    /// Whether it is a variant of cases with these names, and payloads that `matches` accepts, or none.
    pub fn is_variant(self, cases: &[(&str, Option<Matches>)]) -> bool {
        let Kind::Variant(members) = self.kind() else { return false };
        members.len() == cases.len()
            && members.zip_all(cases, |(name, ty), (wanted, matches)| {
                name == *wanted
                    && match (ty, matches) {
                        (Some(ty), Some(matches)) => matches(&ty),
                        (None, None) => true,
                        _ => false,
                    }
            })
    }

    /// Whether it is an enum of cases with these names.
    pub fn is_enum(self, names: &[&str]) -> bool {
        let Kind::Enum(members) = self.kind() else { return false };
        members.len() == names.len() && members.zip_all(names, |(name, _), wanted| name == *wanted)
    }

    /// Whether it is a set of flags with these names.
    pub fn is_flags(self, names: &[&str]) -> bool {
        let Kind::Flags(members) = self.kind() else { return false };
        members.len() == names.len() && members.zip_all(names, |(name, _), wanted| name == *wanted)
    }
}

impl<'a> Members<'a> {
    /// How many there are.
    pub fn len(self) -> usize {
        self.list.len()
    }

    /// Whether there are none.
    pub fn is_empty(self) -> bool {
        self.list.is_empty()
    }

    /// Member `index`.
    pub fn get(self, index: usize) -> Option<(&'a str, Option<Type<'a>>)> {
        let (name, ty) = self.list.get(index)?;
        Some((name, ty.map(|ty| Type::new(self.types, self.hosts, ty))))
    }

    /// All in order.
    pub fn iter(self) -> impl ExactSizeIterator<Item = (&'a str, Option<Type<'a>>)> {
        self.list.iter().map(move |(name, ty)| (&**name, ty.map(|ty| Type::new(self.types, self.hosts, ty))))
    }

    /// The types of members that all have one: of records, tuples and parameters.
    pub fn types(self) -> impl Iterator<Item = Type<'a>> {
        self.iter().filter_map(|(_, ty)| ty)
    }

    /// Index of the member called `name`.
    pub fn position(self, name: &str) -> Option<usize> {
        self.list.iter().position(|(other, _)| **other == *name)
    }

    fn zip_all<W>(self, wanted: &[W], mut matches: impl FnMut((&str, Option<Type<'_>>), &W) -> bool) -> bool {
        self.iter().zip(wanted).all(|(member, wanted)| matches(member, wanted))
    }
}

impl<'a> ResourceType<'a> {
    /// Interface and name that the host knows it by, if it does.
    pub fn names(self) -> (&'a str, &'a str) {
        let resource = &self.types.resources[self.row as usize];
        (&resource.interface, &resource.name)
    }

    /// Whether the component or one inside it defines it, and not the host.
    pub fn is_guest(self) -> bool {
        self.types.resources[self.row as usize].instance.is_some()
    }

    /// The type that the host registered for it.
    pub(crate) fn host(self) -> Option<TypeId> {
        self.host
    }

    /// The component instance that defines it.
    pub(crate) fn definer(self) -> Option<u32> {
        self.types.resources[self.row as usize].instance
    }
}

impl PartialEq for ResourceType<'_> {
    fn eq(&self, other: &Self) -> bool {
        std::ptr::eq(self.types, other.types) && self.row == other.row
    }
}

/// The type of a function.
#[derive(Clone)]
pub struct FuncType {
    types: Arc<Types>,
    hosts: Arc<[Option<TypeId>]>,
    func: u32,
}

impl FuncType {
    /// Function type `func`, which there is.
    pub(crate) fn new(types: Arc<Types>, hosts: Arc<[Option<TypeId>]>, func: u32) -> Self {
        debug_assert!((func as usize) < types.funcs.len());
        FuncType { types, hosts, func }
    }

    /// All function types of an artifact, of which nothing is bound.
    ///
    /// # Errors
    /// The tables are damaged.
    pub fn all(meta: &Meta<'_>) -> Result<Vec<FuncType>, Malformed> {
        let types = Arc::new(Types::new(meta)?);
        let hosts: Arc<[Option<TypeId>]> = Arc::new([]);
        let of = |func| FuncType { types: Arc::clone(&types), hosts: Arc::clone(&hosts), func };
        Ok((0..types.funcs.len() as u32).map(of).collect())
    }

    fn def(&self) -> &Func {
        &self.types.funcs[self.func as usize]
    }

    /// Of the parameters as a tuple, and of the result.
    pub(crate) fn layout(&self) -> (Layout, Layout) {
        self.def().layout
    }

    /// Names and types of the parameters.
    pub fn params(&self) -> Members<'_> {
        Members { types: &self.types, hosts: &self.hosts, list: &self.types.members[self.def().params.clone()] }
    }

    /// Type of the result.
    pub fn result(&self) -> Option<Type<'_>> {
        Some(Type::new(&self.types, &self.hosts, self.def().result?))
    }
}
