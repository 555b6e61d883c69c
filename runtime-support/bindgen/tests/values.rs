//! Types of every form: how they are laid out, and their way to a guest's memory and core values and back.

use precast_loader::component::round_trip::{from_cells, from_memory, through_cells, through_memory};
use precast_loader::component::{ComponentType, Lift, Lower};

mod bindings {
    precast_bindgen::bindgen!({
        inline: r#"
            package test:values;

            /// Every form of type.
            interface shapes {
                record point { x: s32, y: s32 }
                record mixed { a: u8, b: u64, c: u16, d: f32, e: bool, f: char }
                record nested { first: point, tag: u8, second: option<point> }
                record texts { name: string, words: list<string>, pairs: list<tuple<string, u32>> }
                record one { %type: f64 }

                enum color { red, green, %blue-ish }
                enum big {
                    c0, c1, c2, c3, c4, c5, c6, c7, c8, c9, c10, c11, c12, c13, c14, c15, c16, c17, c18, c19, c20,
                    c21, c22, c23, c24, c25, c26, c27, c28, c29, c30, c31, c32, c33, c34, c35, c36, c37, c38, c39,
                    c40, c41, c42, c43, c44, c45, c46, c47, c48, c49, c50, c51, c52, c53, c54, c55, c56, c57, c58,
                    c59, c60, c61, c62, c63, c64, c65, c66, c67, c68, c69, c70, c71, c72, c73, c74, c75, c76, c77,
                    c78, c79, c80, c81, c82, c83, c84, c85, c86, c87, c88, c89, c90, c91, c92, c93, c94, c95, c96,
                    c97, c98, c99, c100, c101, c102, c103, c104, c105, c106, c107, c108, c109, c110, c111, c112, c113,
                    c114, c115, c116, c117, c118, c119, c120, c121, c122, c123, c124, c125, c126, c127, c128, c129,
                    c130, c131, c132, c133, c134, c135, c136, c137, c138, c139, c140, c141, c142, c143, c144, c145,
                    c146, c147, c148, c149, c150, c151, c152, c153, c154, c155, c156, c157, c158, c159, c160, c161,
                    c162, c163, c164, c165, c166, c167, c168, c169, c170, c171, c172, c173, c174, c175, c176, c177,
                    c178, c179, c180, c181, c182, c183, c184, c185, c186, c187, c188, c189, c190, c191, c192, c193,
                    c194, c195, c196, c197, c198, c199, c200, c201, c202, c203, c204, c205, c206, c207, c208, c209,
                    c210, c211, c212, c213, c214, c215, c216, c217, c218, c219, c220, c221, c222, c223, c224, c225,
                    c226, c227, c228, c229, c230, c231, c232, c233, c234, c235, c236, c237, c238, c239, c240, c241,
                    c242, c243, c244, c245, c246, c247, c248, c249, c250, c251, c252, c253, c254, c255, c256, c257,
                    c258, c259
                }
                variant shape { none, circle(f32), square(u64), named(string), at(point) }
                variant small { a, b(u8) }
                variant plain { x, y }
                variant deep { leaf(shape), pair(tuple<small, shape>), maybe(option<result<shape, color>>) }

                flags f1 { a }
                flags f8 { a, b, c, d, e, f, g, h }
                flags f9 { a, b, c, d, e, f, g, h, i }
                flags f17 { a, b, c, d, e, f, g, h, i, j, k, l, m, n, o, p, q }
                flags f32s {
                    a0, a1, a2, a3, a4, a5, a6, a7, b0, b1, b2, b3, b4, b5, b6, b7,
                    c0, c1, c2, c3, c4, c5, c6, c7, d0, d1, d2, d3, d4, d5, d6, d7
                }
                flags f33 {
                    a0, a1, a2, a3, a4, a5, a6, a7, b0, b1, b2, b3, b4, b5, b6, b7,
                    c0, c1, c2, c3, c4, c5, c6, c7, d0, d1, d2, d3, d4, d5, d6, d7, e0
                }

                type points = list<point>;
                type same-color = color;
                type grid = list<u16, 3>;
                record holds { grid: grid, all: points, %self: same-color, outcome: result<_, color> }
                record keyed { by-name: map<string, u32> }
            }

            world values {
                import shapes;
            }
        "#,
    });
}

use bindings::test::values::shapes::*;

fn layout<T: ComponentType>() -> (u32, u32, usize) {
    (T::SIZE, T::ALIGN, T::FLAT)
}

#[test]
fn layouts() {
    for (name, layout, expected) in [
        ("point", layout::<Point>(), (8, 4, 2)),
        ("mixed", layout::<Mixed>(), (32, 8, 6)),
        ("nested", layout::<Nested>(), (24, 4, 6)),
        ("texts", layout::<Texts>(), (24, 4, 6)),
        ("one", layout::<One>(), (8, 8, 1)),
        ("color", layout::<Color>(), (1, 1, 1)),
        ("big", layout::<Big>(), (2, 2, 1)),
        ("shape", layout::<Shape>(), (16, 8, 3)),
        ("small", layout::<Small>(), (2, 1, 2)),
        ("plain", layout::<Plain>(), (1, 1, 1)),
        // pair: small at 0, shape at 8; maybe: option of result (24) of shape: 32.
        ("deep", layout::<Deep>(), (40, 8, 6)),
        ("f1", layout::<F1>(), (1, 1, 1)),
        ("f8", layout::<F8>(), (1, 1, 1)),
        ("f9", layout::<F9>(), (2, 2, 1)),
        ("f17", layout::<F17>(), (4, 4, 1)),
        ("f32s", layout::<F32s>(), (4, 4, 1)),
        ("f33", layout::<F33>(), (8, 4, 2)),
        ("grid", layout::<Grid>(), (6, 2, 3)),
        ("holds", layout::<Holds>(), (20, 4, 8)),
        ("keyed", layout::<Keyed>(), (8, 4, 2)),
    ] {
        assert_eq!(layout, expected, "{name}");
    }
}

/// The generated numbers are those that the loader computes for the same parts.
#[test]
fn layouts_are_those_of_tuples() {
    assert_eq!(layout::<Mixed>(), layout::<(u8, u64, u16, f32, bool, char)>());
    assert_eq!(layout::<Nested>(), layout::<(Point, u8, Option<Point>)>());
    assert_eq!(layout::<Texts>(), layout::<(String, Vec<String>, Vec<(String, u32)>)>());
    assert_eq!(layout::<Holds>(), layout::<([u16; 3], Vec<Point>, Color, Result<(), Color>)>());
    assert_eq!(layout::<Plain>(), layout::<Result<(), ()>>());
    assert_eq!(layout::<Small>(), layout::<Option<u8>>());
}

fn both_ways<T: Lower + Lift + PartialEq + std::fmt::Debug>(value: T) -> (Vec<u64>, Vec<u8>) {
    let (cells, lifted) = through_cells(&value).unwrap();
    assert_eq!(lifted, value, "through cells");
    let (bytes, loaded) = through_memory(&value).unwrap();
    assert_eq!(loaded, value, "through memory");
    (cells, bytes)
}

#[test]
fn records() {
    let (cells, bytes) = both_ways(Point { x: -1, y: 2 });
    assert_eq!(cells, [0xffff_ffff, 2]);
    assert_eq!(bytes, [0xff, 0xff, 0xff, 0xff, 2, 0, 0, 0]);
    let (cells, bytes) = both_ways(Mixed { a: 1, b: 2, c: 3, d: 1.5, e: true, f: 'x' });
    assert_eq!(cells, [1, 2, 3, 1.5f32.to_bits().into(), 1, 'x'.into()]);
    assert_eq!((bytes[0], bytes[8], bytes[16], bytes[24], bytes[28]), (1, 2, 3, 1, b'x'));
    assert_eq!(bytes[20..24], 1.5f32.to_le_bytes());
    both_ways(Nested { first: Point { x: 1, y: 2 }, tag: 7, second: Some(Point { x: 3, y: 4 }) });
    both_ways(Nested { first: Point { x: 1, y: 2 }, tag: 7, second: None });
    both_ways(Texts {
        name: "n\u{e4}me".into(),
        words: vec!["a".into(), String::new()],
        pairs: vec![("one".into(), 1), ("two".into(), 2)],
    });
    both_ways(One { type_: -0.5 });
    both_ways(Keyed { by_name: [("a".to_owned(), 1), ("b".to_owned(), 2)].into() });
    both_ways(Holds {
        grid: [1, 2, 3],
        all: vec![Point { x: 1, y: 2 }],
        self_: Color::Green,
        outcome: Err(Color::Red),
    });
}

#[test]
fn enums() {
    let (cells, bytes) = both_ways(Color::BlueIsh);
    assert_eq!((cells, bytes), (vec![2], vec![2]));
    let (cells, bytes) = both_ways(Big::C259);
    assert_eq!((cells, bytes), (vec![259], vec![3, 1]));
    assert!(from_cells::<Color>(&[3]).is_err());
    assert!(from_memory::<Color>(&[3]).is_err());
    assert!(from_memory::<Big>(&[4, 1]).is_err());
    // The upper half of a cell is nobody's.
    assert_eq!(from_cells::<Color>(&[1 << 32]).unwrap(), Color::Red);
}

#[test]
fn variants() {
    let (cells, bytes) = both_ways(Shape::None);
    assert_eq!(cells, [0, 0, 0]);
    assert_eq!(bytes[0], 0);
    let (cells, bytes) = both_ways(Shape::Circle(2.0));
    assert_eq!(cells, [1, 2.0f32.to_bits().into(), 0]);
    assert_eq!(bytes[8..12], 2.0f32.to_le_bytes());
    both_ways(Shape::Square(u64::MAX));
    both_ways(Shape::Named("x".into()));
    both_ways(Shape::At(Point { x: -5, y: 6 }));
    both_ways(Small::B(9));
    both_ways(Plain::Y);
    both_ways(Deep::Leaf(Shape::Square(3)));
    let (cells, _) = both_ways(Deep::Pair((Small::B(1), Shape::Circle(1.0))));
    assert_eq!(cells, [1, 1, 1, 1, 1.0f32.to_bits().into(), 0]);
    both_ways(Deep::Maybe(None));
    both_ways(Deep::Maybe(Some(Ok(Shape::Named("deep".into())))));
    both_ways(Deep::Maybe(Some(Err(Color::Green))));
    assert!(from_cells::<Shape>(&[5, 0, 0]).is_err());
    assert!(from_memory::<Small>(&[2, 0]).is_err());
    assert!(from_memory::<Plain>(&[255]).is_err());
}

#[test]
fn flags() {
    let (cells, bytes) = both_ways(F8::A | F8::H);
    assert_eq!((cells, bytes), (vec![0x81], vec![0x81]));
    let (_, bytes) = both_ways(F9::I);
    assert_eq!(bytes, [0, 1]);
    let (_, bytes) = both_ways(F17::all());
    assert_eq!(bytes, [0xff, 0xff, 1, 0]);
    both_ways(F32s::all());
    let (cells, bytes) = both_ways(F33::A0 | F33::E0);
    assert_eq!((cells, bytes), (vec![1, 1], vec![1, 0, 0, 0, 1, 0, 0, 0]));
    // Bits that stand for nothing do not arrive.
    assert_eq!(from_cells::<F1>(&[0xff]).unwrap(), F1::A);
    assert_eq!(from_memory::<F9>(&[0, 0xff]).unwrap(), F9::I);
    assert_eq!(from_cells::<F33>(&[0, 0xffff_ffff]).unwrap(), F33::E0);

    let mut set = F8::empty();
    assert!(set.is_empty() && set == F8::default());
    set |= F8::B;
    set.insert(F8::C);
    assert!(set.contains(F8::B | F8::C) && !set.contains(F8::A) && set.intersects(F8::A | F8::B));
    assert_eq!(format!("{set:?}"), "{b, c}");
    set.remove(F8::B);
    assert_eq!((set, set & F8::B, !set), (F8::C, F8::empty(), F8::all() - F8::C));
}

#[test]
fn names_for_messages() {
    assert_eq!((Point::wit(), Deep::wit()), ("point".to_owned(), "deep".to_owned()));
}
