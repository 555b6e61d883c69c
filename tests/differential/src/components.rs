//! Random components on precast and on wasmtime: honest ones, and ones that give each other what they should not. Each
//! call must come to the same value, or trap on both.

use std::sync::OnceLock;

use precast_loader::component::Val;
use precast_tests::components::{self, Case, Def, Ty};
use precast_tests::smith::Failure;
use wasmtime::component::{Component, Linker, Val as PeerVal};
use wasmtime::{Config, Engine, Store};

use crate::Outcome;

/// Honest components are found to be right sooner than hostile ones.
const HOSTILE_CASES: u64 = 4;

/// Checks the cases with this seed; the steps of the outcome are calls.
///
/// # Errors
/// What differs between precast and the peer.
pub fn check(seed: u64) -> Result<Outcome, Failure> {
    let first = seed.wrapping_mul(HOSTILE_CASES);
    let hostile = (0..HOSTILE_CASES).map(|number| components::hostile(first.wrapping_add(number)));
    let mut outcome = Outcome { checked: true, ..Outcome::default() };
    for case in [components::case(seed)].into_iter().chain(hostile) {
        let (calls, traps) = check_case(&case)?;
        outcome.steps += calls;
        outcome.traps += traps;
    }
    Ok(outcome)
}

/// How many calls there were, and how many trapped.
fn check_case(case: &Case) -> Result<(usize, usize), Failure> {
    let outcomes = components::play(case).map_err(Failure)?;
    let peers = play(case).map_err(|error| Failure(format!("wasmtime: {error:?}\n{}", case.text())))?;
    for ((name, argument), (outcome, peer)) in case.calls().zip(outcomes.iter().zip(&peers)) {
        let agree = match (outcome, peer) {
            (Ok(value), Ok(peer)) => to_peer(case, &case.signature(name)[1], value) == *peer,
            (Err(_), Err(_)) => true,
            _ => false,
        };
        if !agree {
            let call = format!("{name} {argument:?}\nprecast: {outcome:?}\nwasmtime: {peer:?}");
            return Err(Failure(format!("{call}\n{:?} {:?}\n{}", case.encodings, case.mischief, case.text())));
        }
    }
    Ok((outcomes.len(), outcomes.iter().filter(|outcome| outcome.is_err()).count()))
}

/// Makes the calls of a case on wasmtime.
fn play(case: &Case) -> wasmtime::Result<Vec<wasmtime::Result<PeerVal>>> {
    let engine = engine();
    let component = Component::new(engine, wat::parse_str(case.text())?)?;
    let linker = Linker::<()>::new(engine).instantiate_pre(&component)?;
    let call = |(name, argument): (&str, Val)| {
        let mut store = Store::new(engine, ());
        // It is not the limits that are compared.
        store.set_hostcall_fuel(usize::MAX);
        let instance = linker.instantiate(&mut store)?;
        let func = instance.get_func(&mut store, name).ok_or_else(|| wasmtime::Error::msg("no such export"))?;
        let mut results = [PeerVal::Bool(false)];
        let argument = to_peer(case, &case.signature(name)[0], &argument);
        let outcome = func.call(&mut store, &[argument], &mut results);
        let [result] = results;
        Ok(outcome.map(|()| result))
    };
    case.calls().map(call).collect()
}

fn engine() -> &'static Engine {
    static ENGINE: OnceLock<Engine> = OnceLock::new();
    ENGINE.get_or_init(|| {
        let mut config = Config::new();
        config.wasm_component_model_map(true).wasm_component_model_fixed_length_lists(true);
        Engine::new(&config).expect("the settings fit this machine")
    })
}

/// The value of this type as wasmtime has it, whose NaNs are all equal.
fn to_peer(case: &Case, ty: &Ty, value: &Val) -> PeerVal {
    let all =
        |types: &[Ty], values: &[Val]| types.iter().zip(values).map(|(ty, value)| to_peer(case, ty, value)).collect();
    let same = |ty: &Ty, values: &[Val]| values.iter().map(|value| to_peer(case, ty, value)).collect();
    let boxed = |ty: Option<&Ty>, value: &Option<Box<Val>>| {
        ty.zip(value.as_ref()).map(|(ty, value)| Box::new(to_peer(case, ty, value)))
    };
    match (ty, value) {
        (_, Val::Bool(value)) => PeerVal::Bool(*value),
        (_, Val::S8(value)) => PeerVal::S8(*value),
        (_, Val::U8(value)) => PeerVal::U8(*value),
        (_, Val::S16(value)) => PeerVal::S16(*value),
        (_, Val::U16(value)) => PeerVal::U16(*value),
        (_, Val::S32(value)) => PeerVal::S32(*value),
        (_, Val::U32(value)) => PeerVal::U32(*value),
        (_, Val::S64(value)) => PeerVal::S64(*value),
        (_, Val::U64(value)) => PeerVal::U64(*value),
        (_, Val::F32(value)) => PeerVal::Float32(*value),
        (_, Val::F64(value)) => PeerVal::Float64(*value),
        (_, Val::Char(value)) => PeerVal::Char(*value),
        (_, Val::String(value)) => PeerVal::String(value.clone()),
        (_, Val::Enum(name)) => PeerVal::Enum(name.clone()),
        (_, Val::Flags(names)) => PeerVal::Flags(names.clone()),
        (Ty::List(element), Val::List(values)) => PeerVal::List(same(element, values)),
        (Ty::FixedList(element, _), Val::List(values)) => PeerVal::FixedLengthList(same(element, values)),
        (Ty::Map(key, of_key), Val::Map(pairs)) => {
            let pair = |(one, other): &(Val, Val)| (to_peer(case, key, one), to_peer(case, of_key, other));
            PeerVal::Map(pairs.iter().map(pair).collect())
        }
        (Ty::Tuple(types), Val::Tuple(values)) => PeerVal::Tuple(all(types, values)),
        (Ty::Option(ty), Val::Option(payload)) => PeerVal::Option(boxed(Some(ty), payload)),
        (Ty::Result(ok, err), Val::Result(result)) => {
            let [ok, err] = [ok, err].map(|ty| ty.as_deref());
            PeerVal::Result(result.as_ref().map(|value| boxed(ok, value)).map_err(|value| boxed(err, value)))
        }
        (Ty::Named(def), _) => match (&case.defs[*def], value) {
            (Def::Record(types), Val::Record(fields)) => {
                let field = |(ty, (name, value)): (&Ty, &(String, Val))| (name.clone(), to_peer(case, ty, value));
                PeerVal::Record(types.iter().zip(fields).map(field).collect())
            }
            (Def::Variant(cases), Val::Variant(name, payload)) => {
                let ty = name[1..].parse().ok().and_then(|at: usize| cases[at].as_ref());
                PeerVal::Variant(name.clone(), boxed(ty, payload))
            }
            _ => unreachable!("{value:?} is none of {ty:?}"),
        },
        _ => unreachable!("{value:?} is none of {ty:?}"),
    }
}
