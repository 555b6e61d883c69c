//! Adapters for a matrix of types, encodings and ways to pass values, checked by Cranelift's verifier and compiled for
//! both instruction sets. What they do is tested end to end, in the workspace's `tests`.

use cranelift_codegen::Context;
use cranelift_codegen::control::ControlPlane;
use cranelift_codegen::entity::PrimaryMap;
use precast_abi::component::{MAX_FLAT_PARAMS, Primitive, StringEncoding};
use precast_abi::meta::MemoryModel;
use precast_abi::types::{FuncType, ValType};
use precast_targets::Arch;

use super::GlueHelper;
use super::shape::Shapes;
use crate::component::linkage::{ComponentFuncType, ComponentInstance, Resource, ResourceDef, Type, TypeDef, TypeRow};
use crate::component::program::{Adapter, ComponentProgram, InstancePlace, ResourcePlace, Side};
use crate::lower::{target_isa, translate_symbol};
use crate::program::{Env, FuncBody, FuncDef, FuncPlace, Group, GroupPlace, Memory, MemoryPlace, Program, Symbol};
use crate::translate::Scratch;
use crate::{Error, Options};

const ENCODINGS: [StringEncoding; 3] = [StringEncoding::Utf8, StringEncoding::Utf16, StringEncoding::Latin1OrUtf16];

/// Makes types.
#[derive(Default)]
struct Types(PrimaryMap<TypeRow, TypeDef>);

impl Types {
    fn add(&mut self, def: TypeDef) -> Type {
        Type::Row(self.0.push(def))
    }

    fn tuple(&mut self, types: &[Type]) -> Type {
        self.add(TypeDef::Tuple(types.into()))
    }

    fn variant(&mut self, cases: &[Option<Type>]) -> Type {
        self.add(TypeDef::Variant(cases.iter().map(|ty| (String::new(), *ty)).collect()))
    }
}

fn number(primitive: Primitive) -> Type {
    Type::Primitive(primitive)
}

/// One type of each kind, and some in others. Resource 0 is the caller's, 1 the callee's, 2 the host's.
fn matrix(types: &mut Types) -> Vec<Type> {
    let mut all: Vec<Type> = Primitive::ALL.map(number).into();
    let [small, wide, real, double, text] =
        [Primitive::U8, Primitive::U64, Primitive::F32, Primitive::F64, Primitive::String].map(number);
    let pair = types.tuple(&[small, wide]);
    let plain = types.tuple(&[wide, wide, number(Primitive::U32), real]);
    let mixed = types.variant(&[None, Some(real), Some(wide), Some(double), Some(small), Some(text), Some(pair)]);
    let floats = types.variant(&[Some(real), Some(number(Primitive::Char))]);
    let large = types.add(TypeDef::Enum(vec![String::new(); 300]));
    all.extend([pair, plain, mixed, floats, large]);
    for count in [1, 8, 9, 16, 17, 32, 33, 70] {
        all.push(types.add(TypeDef::Flags(vec![String::new(); count])));
    }
    let many = types.tuple(&[text, mixed, mixed, mixed, text]);
    let array = types.add(TypeDef::FixedList(small, 5));
    let texts = types.add(TypeDef::FixedList(text, 3));
    let records = types.add(TypeDef::FixedList(pair, 40));
    let bytes = types.add(TypeDef::List(small));
    let option = types.add(TypeDef::Option(bytes));
    let result = types.add(TypeDef::Result(Some(option), Some(mixed)));
    let same = types.add(TypeDef::Result(Some(text), Some(text)));
    let empty = types.add(TypeDef::Result(None, None));
    let map = types.add(TypeDef::Map(text, mixed));
    all.extend([many, array, texts, records, bytes, option, result, same, empty, map]);
    for element in [number(Primitive::Bool), number(Primitive::Char), text, pair, plain, mixed, bytes, many, records] {
        all.push(types.add(TypeDef::List(element)));
    }
    for resource in [0, 1, 2].map(Resource::from_u32) {
        let own = types.add(TypeDef::Own(resource));
        let option = types.add(TypeDef::Option(own));
        let list = types.add(TypeDef::List(own));
        all.extend([own, option, list]);
    }
    all
}

/// Types that only parameters may have.
fn borrows(types: &mut Types) -> Vec<Type> {
    let mut all = Vec::new();
    for resource in [0, 1, 2].map(Resource::from_u32) {
        let borrow = types.add(TypeDef::Borrow(resource));
        let option = types.add(TypeDef::Option(borrow));
        let list = types.add(TypeDef::List(borrow));
        let pair = types.tuple(&[borrow, borrow]);
        let array = types.add(TypeDef::FixedList(borrow, 7));
        all.extend([borrow, option, list, pair, array]);
    }
    all
}

/// A program with two component instances, each with a memory of its own, and functions whose code does not matter.
fn program(
    types: Types,
    funcs: &[(Vec<Type>, Option<Type>)],
    encodings: (StringEncoding, StringEncoding),
) -> Program<'static> {
    let groups = [0x20_0000, 0x2_0000_0000_u64]
        .map(|base_offset| GroupPlace { block_start: base_offset - 0x1_0000, base_offset })
        .into_iter()
        .collect();
    let mut program = Program {
        instances: PrimaryMap::new(),
        groups,
        types: [FuncType::default()].into_iter().collect(),
        entry_types: Vec::new(),
        funcs: PrimaryMap::new(),
        func_imports: PrimaryMap::new(),
        imports: Vec::new(),
        exports: Vec::new(),
        rows: crate::program::Rows::default(),
        layout: precast_abi::slot::SlotLayout {
            page_size: 0x1000,
            stack_start: 0x1_0000,
            block_start: 0x11_0000,
            host_start: 0x11_0000,
            host_size: 0x1000,
            base_offset: 0x20_0000,
            slot_size: 1 << 40,
        },
        init: Vec::new(),
        metered: false,
        foreign_funcrefs: false,
        helpers: Vec::new(),
        component: None,
        constant_tables: Default::default(),
        no_env: Env::default(),
    };
    let func = |program: &mut Program<'_>, ty: FuncType, group: u32, body: FuncBody| {
        let ty = program.types.push(ty);
        FuncPlace::Defined(program.funcs.push(FuncDef { body, ty, group: Group::from_u32(group) }))
    };
    let elsewhere = FuncBody::Forward(FuncPlace::Unreached);
    let mut sides = [0, 1].map(|index: u32| {
        let realloc_type = FuncType { params: vec![ValType::I32; 4], results: vec![ValType::I32] };
        let realloc = func(&mut program, realloc_type, index, elsewhere);
        let memory = Memory {
            place: MemoryPlace::Own { start: 0, size_word: -0x100, reservation: 8 << 30 },
            model: MemoryModel::Guarded,
            min: 1,
            max: None,
            row: index,
        };
        Side {
            instance: ComponentInstance::from_u32(index + 1),
            encoding: if index == 0 { encodings.0 } else { encodings.1 },
            memory: Some((Group::from_u32(index), memory)),
            realloc: Some(realloc),
            post_return: None,
        }
    });
    let shapes = Shapes::new(&types.0);
    let mut component = ComponentProgram {
        types: types.0,
        shapes,
        func_types: PrimaryMap::new(),
        instances: PrimaryMap::new(),
        resources: PrimaryMap::new(),
        adapters: PrimaryMap::new(),
        lends: -0x9_0000,
        canons: Vec::new(),
        imports: Vec::new(),
        host_funcs: PrimaryMap::new(),
        exports: Vec::new(),
    };
    for index in 0..3 {
        component.instances.push(InstancePlace {
            parent: (index > 0).then(|| ComponentInstance::from_u32(0)),
            state: -0x200 - 16 * index,
            handles: -0x10_0000 - 0x1_0000 * index,
            handle_capacity: 0x1000,
            leaves_checked: index > 0,
        });
    }
    let destructor = FuncType { params: vec![ValType::I32], results: Vec::new() };
    for definer in [Some(1), Some(2), None] {
        let destructor = func(&mut program, destructor.clone(), definer.unwrap_or(1) - 1, elsewhere);
        component.resources.push(ResourcePlace {
            def: ResourceDef::Host { interface: String::new(), name: String::new() },
            definer: definer.map(ComponentInstance::from_u32),
            destructor: Some(destructor),
            destructor_for_host: None,
        });
    }
    for (index, (params, result)) in funcs.iter().enumerate() {
        let params: Vec<_> = params.iter().map(|ty| (String::new(), *ty)).collect();
        let row = component.func_types.push(ComponentFuncType { params: params.clone(), result: *result });
        let spilled = vec![ValType::I32];
        let shape = component.shapes.record(params.iter().map(|(_, ty)| *ty));
        let core_params = shape.flat.filter(|flat| flat.len() <= MAX_FLAT_PARAMS).unwrap_or(spilled.clone());
        let result_flat = result.map_or(Some(Vec::new()), |ty| component.shapes.of(ty).flat.clone());
        let by_pointer = result_flat.as_ref().is_none_or(|flat| flat.len() > 1);
        let results = if by_pointer { spilled } else { result_flat.unwrap_or_default() };
        let callee_core = FuncType { params: core_params.clone(), results: results.clone() };
        let caller_core = FuncType {
            params: core_params.into_iter().chain(by_pointer.then_some(ValType::I32)).collect(),
            results: if by_pointer { Vec::new() } else { results.clone() },
        };
        let callee_func = func(&mut program, callee_core.clone(), 1, elsewhere);
        let post_return = FuncType { params: results, results: Vec::new() };
        sides[1].post_return = (index % 2 == 1).then(|| func(&mut program, post_return, 1, elsewhere));
        let adapter = component.adapters.push(Adapter {
            caller: sides[0].clone(),
            callee: sides[1].clone(),
            caller_ty: row,
            callee_func,
            callee_core,
            recursive: false,
        });
        func(&mut program, caller_core, 0, FuncBody::Adapter(adapter));
    }
    let handle = |ty: FuncType, body| (ty, body);
    let (one, none) = (vec![ValType::I32], Vec::new());
    for resource in [0, 1, 2].map(Resource::from_u32) {
        for instance in [0, 1, 2].map(ComponentInstance::from_u32) {
            for (ty, body) in [
                handle(
                    FuncType { params: one.clone(), results: one.clone() },
                    FuncBody::ResourceNew(resource, instance),
                ),
                handle(
                    FuncType { params: one.clone(), results: one.clone() },
                    FuncBody::ResourceRep(resource, instance),
                ),
                handle(
                    FuncType { params: one.clone(), results: none.clone() },
                    FuncBody::ResourceDrop(resource, instance),
                ),
            ] {
                func(&mut program, ty, 1, body);
            }
        }
    }
    program.component = Some(component);
    program
}

fn symbols(program: &Program<'_>) -> Vec<Symbol> {
    let glue = program.funcs.iter().filter(|(_, def)| !matches!(def.body, FuncBody::Forward(_)));
    glue.map(|(func, _)| Symbol::Function(func)).chain(GlueHelper::ALL.map(Symbol::Glue)).collect()
}

/// Translates and compiles all glue of a program; its size in bytes.
fn compile(program: &Program<'_>, arch: Arch) -> Vec<(Symbol, usize)> {
    let options = Options { arch, features: arch.levels()[0].features, verify: true, ..Options::default() };
    let isa = target_isa(&options).unwrap();
    let (mut scratch, mut context) = (Scratch::default(), Context::new());
    symbols(program)
        .into_iter()
        .map(|symbol| {
            let function = translate_symbol(program, &*isa, symbol, &mut scratch).unwrap();
            context.clear();
            context.func = function;
            match context.compile(&*isa, &mut ControlPlane::default()) {
                Ok(code) => (symbol, code.code_buffer().len()),
                Err(error) => panic!("{symbol:?} for {arch:?}: {:?}\n{}", error.inner, error.func),
            }
        })
        .collect()
}

#[test]
fn every_type_crosses_in_every_encoding() {
    for caller in ENCODINGS {
        for callee in ENCODINGS {
            let mut types = Types::default();
            let all = matrix(&mut types);
            let lent = borrows(&mut types);
            let mut funcs = Vec::new();
            for ty in &all {
                funcs.push((vec![*ty], Some(*ty)));
                // Parameters in memory.
                funcs.push((
                    vec![number(Primitive::U16), *ty].into_iter().chain([number(Primitive::U8); 17]).collect(),
                    None,
                ));
            }
            for ty in lent {
                funcs.push((vec![ty, number(Primitive::String)], None));
                funcs.push((
                    vec![ty, number(Primitive::String)].into_iter().chain([number(Primitive::S8); 17]).collect(),
                    None,
                ));
            }
            let program = program(types, &funcs, (caller, callee));
            for arch in [Arch::X86_64, Arch::Aarch64] {
                compile(&program, arch);
            }
        }
    }
}

#[test]
fn adapters_of_numbers_are_small() {
    let number = number(Primitive::U32);
    let funcs = [(vec![number, number], Some(number))];
    let program = program(Types::default(), &funcs, (StringEncoding::Utf8, StringEncoding::Utf8));
    let sizes = compile(&program, Arch::X86_64);
    let is_adapter = |symbol: &Symbol| {
        let Symbol::Function(func) = symbol else { return false };
        matches!(program.funcs[*func].body, FuncBody::Adapter(_))
    };
    let size = sizes.iter().find(|(symbol, _)| is_adapter(symbol)).unwrap().1;
    assert!(size <= 64, "{size} bytes");
}

#[test]
fn an_adapter_that_would_explode_is_refused() {
    let mut types = Types::default();
    let mut ty = number(Primitive::String);
    for _ in 0..24 {
        ty = types.tuple(&[ty, ty]);
    }
    let program = program(types, &[(vec![ty], None)], (StringEncoding::Utf8, StringEncoding::Utf8));
    let isa = target_isa(&Options::default()).unwrap();
    let adapter = program.funcs.iter().find(|(_, def)| matches!(def.body, FuncBody::Adapter(_))).unwrap().0;
    let refused = translate_symbol(&program, &*isa, Symbol::Function(adapter), &mut Scratch::default());
    assert!(matches!(refused, Err(Error::Limit { .. })), "{refused:?}");
}
