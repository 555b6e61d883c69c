//! One call made again and again, without the price of values whose types are known at run time only.

use precast_loader::{CallError, Func, Instance, Val, WasmParams, WasmResults};

/// Makes the call once.
pub(crate) type Repeat<T> = Box<dyn Fn(&mut Instance<T>) -> Result<(), CallError>>;

/// The call of `func` with `params`: a typed one if the type is a common one, else a dynamic one, which allocates.
pub(crate) fn repeat<T: 'static>(instance: &Instance<T>, func: Func, params: &[Val]) -> Repeat<T> {
    let typed = match *params {
        [] => any_result(instance, func, ()),
        [Val::I32(a)] => any_result(instance, func, a),
        [Val::I64(a)] => any_result(instance, func, a),
        [Val::F64(a)] => any_result(instance, func, f64::from_bits(a)),
        [Val::I32(a), Val::I32(b)] => any_result(instance, func, (a, b)),
        [Val::I64(a), Val::I64(b)] => any_result(instance, func, (a, b)),
        [Val::F64(a), Val::F64(b)] => any_result(instance, func, (f64::from_bits(a), f64::from_bits(b))),
        _ => None,
    };
    typed.unwrap_or_else(|| {
        let params = params.to_vec();
        Box::new(move |instance| func.call(instance, &params).map(drop))
    })
}

fn any_result<T, P>(instance: &Instance<T>, func: Func, params: P) -> Option<Repeat<T>>
where
    T: 'static,
    P: WasmParams + Copy + 'static,
{
    typed::<T, P, ()>(instance, func, params)
        .or_else(|| typed::<T, P, i32>(instance, func, params))
        .or_else(|| typed::<T, P, i64>(instance, func, params))
        .or_else(|| typed::<T, P, f64>(instance, func, params))
}

/// The typed call, if `func` has that type.
fn typed<T, P, R>(instance: &Instance<T>, func: Func, params: P) -> Option<Repeat<T>>
where
    T: 'static,
    P: WasmParams + Copy + 'static,
    R: WasmResults + 'static,
{
    let func = func.typed::<P, R>(instance).ok()?;
    Some(Box::new(move |instance| func.call(instance, params).map(drop)))
}
