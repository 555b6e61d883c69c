//! Random types and values.

use precast_loader::component::Val;

use crate::Random;

/// A component-level type.
#[derive(Clone, Debug, PartialEq)]
pub enum Ty {
    /// A primitive, by its name in WIT.
    Primitive(&'static str),
    /// `string`.
    String,
    /// `list`.
    List(Box<Ty>),
    /// `list` of a fixed length.
    FixedList(Box<Ty>, usize),
    /// `map`.
    Map(Box<Ty>, Box<Ty>),
    /// `tuple`.
    Tuple(Vec<Ty>),
    /// `option`.
    Option(Box<Ty>),
    /// `result`.
    Result(Option<Box<Ty>>, Option<Box<Ty>>),
    /// One of [`Case::defs`].
    Named(usize),
}

/// A type that has to have a name.
#[derive(Clone, Debug, PartialEq)]
pub enum Def {
    /// Types of the fields, which are called `f0` and so on.
    Record(Vec<Ty>),
    /// Payloads of the cases, which are called `c0` and so on.
    Variant(Vec<Option<Ty>>),
    /// How many cases there are.
    Enum(usize),
    /// How many flags there are.
    Flags(usize),
}

/// A type, values of it, and how the components that pass them on encode strings.
#[derive(Clone, Debug)]
pub struct Case {
    /// Types with names; each refers to earlier ones only.
    pub defs: Vec<Def>,
    /// The type.
    pub ty: Ty,
    /// Values of it.
    pub values: Vec<Val>,
    /// Options of `canon` for the components, the one that hands values back first.
    pub encodings: Vec<&'static str>,
    /// What one of the components does wrong.
    pub mischief: Option<Mischief>,
}

/// What a component does that an honest one does not.
#[derive(Clone, Debug)]
pub struct Mischief {
    /// Which component does it.
    pub component: usize,
    /// What it does.
    pub deed: Deed,
}

/// See [`Mischief`]. What is done early is done to what the component was given, before it calls the next; what is not,
/// to what it gives back.
#[derive(Clone, Debug)]
#[allow(missing_docs, reason = "the cases say what their numbers are")]
pub enum Deed {
    /// Overwrites this many bytes at this address with the low ones of a number.
    Write { early: bool, bytes: usize, address: u32, number: u32 },
    /// Has another core value in this place of those that it passes on.
    Replace { place: usize, bits: u64 },
    /// Adds to the pointer that it passes on.
    Point { early: bool, by: u32 },
    /// Adds to what one of the calls of `realloc` gives. In the outermost component only calls for new memory count.
    Realloc { call: usize, by: u32 },
}

/// Values of parameters that are passed as core values.
const MAX_FLAT: usize = 16;
/// How deep types nest.
const DEPTH: usize = 4;
/// Where a component's `realloc` begins.
pub(super) const HEAP: u32 = 4096;
/// Where a component has the next one put its result.
pub(super) const RESULT: u32 = 1024;
/// Pages of a component's memory in a hostile case: so few that a list that fills it is not more than the host lifts.
pub(super) const HOSTILE_PAGES: u32 = 128;

const PRIMITIVES: [&str; 12] = ["bool", "s8", "u8", "s16", "u16", "s32", "u32", "s64", "u64", "f32", "f64", "char"];
/// What the keys of maps may be, besides strings.
const KEYS: [&str; 10] = ["bool", "s8", "u8", "s16", "u16", "s32", "u32", "s64", "u64", "char"];
/// Numbers at the edge of something: characters, lengths, pointers.
const EDGES: [u32; 21] = [
    0x7f,
    0x80,
    0xff,
    0x100,
    0x8000,
    0xffff,
    0x1_0001,
    0xd800,
    0xdfff,
    0x10_ffff,
    0x11_0000,
    (HOSTILE_PAGES << 16) - HEAP,
    (HOSTILE_PAGES << 16) - 4,
    HOSTILE_PAGES << 16,
    0x0fff_ffff,
    0x1000_0000,
    0x7fff_ffff,
    0x8000_0000,
    0x8000_0001,
    0xffff_ff00,
    u32::MAX,
];
const ENCODINGS: [&str; 3] = ["utf8", "utf16", "latin1+utf16"];

pub(super) fn honest(random: &mut Random) -> Case {
    case(random, DEPTH)
}

fn case(random: &mut Random, depth: usize) -> Case {
    let mut defs = Vec::new();
    let ty = ty(random, &mut defs, depth);
    let encodings = (0..2 + random.below(2)).map(|_| format_encoding(random)).collect();
    let values = (0..4).map(|_| value(random, &defs, &ty)).collect();
    Case { defs, ty, values, encodings, mischief: None }
}

/// In a small value, what is wrong is more likely to matter.
pub(super) fn hostile(random: &mut Random) -> Case {
    let depth = random.below(DEPTH);
    let mut case = case(random, depth);
    let early = random.below(2) == 0;
    let deed = match random.below(8) {
        0 => Deed::Point { early, by: edge(random) },
        1 => Deed::Realloc { call: random.below(8), by: edge(random) },
        2..5 if case.has_flat() => {
            let high = if random.below(2) == 0 { 0 } else { random.next() << 32 };
            Deed::Replace { place: random.below(case.flats(&case.ty)), bits: high | u64::from(edge(random)) }
        }
        _ => {
            let start = if early || random.below(2) == 0 { HEAP + 4096 * random.below(3) as u32 } else { RESULT };
            let within = 4 << random.below(6);
            let address = start + random.below(within) as u32;
            let bytes = 1 << random.below(3);
            Deed::Write { early, bytes, address: address & !(bytes as u32 - 1), number: edge(random) }
        }
    };
    let component = random.below(case.encodings.len());
    case.mischief = Some(Mischief { component, deed });
    case
}

fn edge(random: &mut Random) -> u32 {
    match random.below(5) {
        0 => random.below(8) as u32,
        1 => random.below(256) as u32,
        2 => HEAP + random.below(256) as u32,
        _ => *random.pick(&EDGES),
    }
}

fn format_encoding(random: &mut Random) -> &'static str {
    random.pick::<&str>(&ENCODINGS)
}

fn ty(random: &mut Random, defs: &mut Vec<Def>, depth: usize) -> Ty {
    if depth == 0 || random.below(4) == 0 {
        return if random.below(4) == 0 { Ty::String } else { Ty::Primitive(random.pick::<&str>(&PRIMITIVES)) };
    }
    let mut inner = |random: &mut Random| ty(random, defs, depth - 1);
    let def = match random.below(11) {
        9 => return Ty::FixedList(Box::new(inner(random)), 1 + random.below(6)),
        10 => {
            let key = if random.below(3) == 0 { Ty::String } else { Ty::Primitive(random.pick::<&str>(&KEYS)) };
            return Ty::Map(Box::new(key), Box::new(inner(random)));
        }
        0 | 1 => return Ty::List(Box::new(inner(random))),
        2 => return Ty::Tuple((0..1 + random.below(4)).map(|_| inner(random)).collect()),
        3 => return Ty::Option(Box::new(inner(random))),
        4 => {
            let mut side = || (random.below(3) != 0).then(|| Box::new(inner(random)));
            return Ty::Result(side(), side());
        }
        5 => Def::Record((0..1 + random.below(5)).map(|_| inner(random)).collect()),
        6 => Def::Variant((0..1 + random.below(5)).map(|_| (random.below(4) != 0).then(|| inner(random))).collect()),
        7 => {
            let most = if random.below(8) == 0 { 300 } else { 5 };
            Def::Enum(1 + random.below(most))
        }
        _ => Def::Flags(1 + random.below(32)),
    };
    defs.push(def);
    Ty::Named(defs.len() - 1)
}

fn value(random: &mut Random, defs: &[Def], ty: &Ty) -> Val {
    let boxed = |random: &mut Random, ty: &Ty| Some(Box::new(value(random, defs, ty)));
    match ty {
        Ty::Primitive(name) => primitive(random, name),
        Ty::String => Val::String(string(random)),
        Ty::List(element) => {
            let len = if random.below(10) == 0 { 100 } else { random.below(4) };
            Val::List((0..len).map(|_| value(random, defs, element)).collect())
        }
        Ty::FixedList(element, len) => Val::List((0..*len).map(|_| value(random, defs, element)).collect()),
        Ty::Map(key, of_key) => {
            let len = random.below(4);
            Val::Map((0..len).map(|_| (value(random, defs, key), value(random, defs, of_key))).collect())
        }
        Ty::Tuple(types) => Val::Tuple(types.iter().map(|ty| value(random, defs, ty)).collect()),
        Ty::Option(payload) => Val::Option(if random.below(3) == 0 { None } else { boxed(random, payload) }),
        Ty::Result(ok, err) => {
            let mut payload = |ty: &Option<Box<Ty>>| ty.as_ref().and_then(|ty| boxed(random, ty));
            let (ok, err) = (payload(ok), payload(err));
            Val::Result(if random.below(2) == 0 { Ok(ok) } else { Err(err) })
        }
        Ty::Named(def) => match &defs[*def] {
            Def::Record(types) => {
                let fields = types.iter().enumerate();
                Val::Record(fields.map(|(at, ty)| (format!("f{at}"), value(random, defs, ty))).collect())
            }
            Def::Variant(cases) => {
                let at = random.below(cases.len());
                let payload = cases[at].as_ref().map(|ty| Box::new(value(random, defs, ty)));
                Val::Variant(format!("c{at}"), payload)
            }
            Def::Enum(cases) => Val::Enum(format!("c{}", random.below(*cases))),
            Def::Flags(count) => {
                let bits = random.next();
                Val::Flags((0..*count).filter(|at| bits >> at & 1 == 1).map(|at| format!("f{at}")).collect())
            }
        },
    }
}

fn primitive(random: &mut Random, name: &str) -> Val {
    let bits =
        if random.below(3) == 0 { *random.pick(&[0, 1, u64::MAX, 1 << 63, 0x7f, 0x8000]) } else { random.next() };
    match name {
        "bool" => Val::Bool(bits & 1 == 1),
        "s8" => Val::S8(bits as i8),
        "u8" => Val::U8(bits as u8),
        "s16" => Val::S16(bits as i16),
        "u16" => Val::U16(bits as u16),
        "s32" => Val::S32(bits as i32),
        "u32" => Val::U32(bits as u32),
        "s64" => Val::S64(bits as i64),
        "u64" => Val::U64(bits),
        // No NaN: the bits of one may change.
        "f32" => Val::F32((bits as i32) as f32 / 8.0),
        "f64" => Val::F64((bits as i64) as f64 / 8.0),
        _ => Val::Char(char(random)),
    }
}

fn char(random: &mut Random) -> char {
    match random.below(4) {
        0 => char::from(b' ' + random.below(90) as u8),
        1 => char::from(0x80 + random.below(0x80) as u8),
        2 => char::from_u32(0x100 + random.below(0xd000) as u32).unwrap_or('x'),
        _ => char::from_u32(0x1_0000 + random.below(0x10_0000) as u32).unwrap_or('y'),
    }
}

/// ASCII only, Latin-1 only, or anything: the encodings treat them differently.
fn string(random: &mut Random) -> String {
    let len = if random.below(8) == 0 { 300 } else { random.below(20) };
    let kind = random.below(3);
    let mut char_of_kind = |_| match kind {
        0 => char::from(b' ' + random.below(90) as u8),
        1 => char::from(0x40 + random.below(0xc0) as u8),
        _ => char(random),
    };
    (0..len).map(&mut char_of_kind).collect()
}

impl Case {
    /// Core values that a type takes.
    pub(super) fn flats(&self, ty: &Ty) -> usize {
        let payload = |ty: &Option<Box<Ty>>| ty.as_ref().map_or(0, |ty| self.flats(ty));
        match ty {
            Ty::Primitive(_) => 1,
            Ty::String | Ty::List(_) | Ty::Map(..) => 2,
            Ty::FixedList(element, len) => len * self.flats(element),
            Ty::Tuple(types) => types.iter().map(|ty| self.flats(ty)).sum(),
            Ty::Option(some) => 1 + self.flats(some),
            Ty::Result(ok, err) => 1 + payload(ok).max(payload(err)),
            Ty::Named(def) => match &self.defs[*def] {
                Def::Record(types) => types.iter().map(|ty| self.flats(ty)).sum(),
                Def::Variant(cases) => 1 + cases.iter().flatten().map(|ty| self.flats(ty)).max().unwrap_or_default(),
                Def::Enum(_) | Def::Flags(_) => 1,
            },
        }
    }

    /// Whether the type is passed as core values: then `flat` says which arrive.
    pub(super) fn has_flat(&self) -> bool {
        self.flats(&self.ty) <= MAX_FLAT
    }

    /// The functions that the component exports.
    pub fn functions(&self) -> impl Iterator<Item = &'static str> {
        let is_single = self.flats(&self.ty) == 1;
        ["echo"].into_iter().chain(self.has_flat().then_some("flat")).chain(is_single.then_some("pass"))
    }

    /// Types of the parameter and of the result of one of them.
    pub fn signature(&self, function: &str) -> [Ty; 2] {
        match function {
            "echo" => {
                let beside = std::iter::repeat_n(Ty::Primitive("u32"), MAX_FLAT + 1);
                let wrapped = Ty::Tuple([self.ty.clone()].into_iter().chain(beside).collect());
                [wrapped.clone(), wrapped]
            }
            "flat" => [self.ty.clone(), Ty::List(Box::new(Ty::Primitive("u64")))],
            _ => [self.ty.clone(), self.ty.clone()],
        }
    }

    /// What to call, each in an instance of its own, and with what.
    pub fn calls(&self) -> impl Iterator<Item = (&'static str, Val)> {
        self.values.iter().flat_map(|value| {
            self.functions().map(|name| (name, if name == "echo" { self.wrap(value.clone()) } else { value.clone() }))
        })
    }

    /// The value with so much beside it that it is passed in memory, which is what `echo` takes.
    fn wrap(&self, value: Val) -> Val {
        let beside = (0..=MAX_FLAT as u32).map(Val::U32);
        Val::Tuple([value].into_iter().chain(beside).collect())
    }
}
