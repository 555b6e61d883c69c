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
                    a0, a1, a2, a3, a4, a5, a6, a7, a8, a9, b0, b1, b2, b3, b4, b5, b6, b7, b8, b9, c0, c1, c2, c3, c4,
                    c5, c6, c7, c8, c9, d0, d1, d2, d3, d4, d5, d6, d7, d8, d9, e0, e1, e2, e3, e4, e5, e6, e7, e8, e9,
                    f0, f1, f2, f3, f4, f5, f6, f7, f8, f9, g0, g1, g2, g3, g4, g5, g6, g7, g8, g9, h0, h1, h2, h3, h4,
                    h5, h6, h7, h8, h9, i0, i1, i2, i3, i4, i5, i6, i7, i8, i9, j0, j1, j2, j3, j4, j5, j6, j7, j8, j9,
                    k0, k1, k2, k3, k4, k5, k6, k7, k8, k9, l0, l1, l2, l3, l4, l5, l6, l7, l8, l9, m0, m1, m2, m3, m4,
                    m5, m6, m7, m8, m9, n0, n1, n2, n3, n4, n5, n6, n7, n8, n9, o0, o1, o2, o3, o4, o5, o6, o7, o8, o9,
                    p0, p1, p2, p3, p4, p5, p6, p7, p8, p9, q0, q1, q2, q3, q4, q5, q6, q7, q8, q9, r0, r1, r2, r3, r4,
                    r5, r6, r7, r8, r9, s0, s1, s2, s3, s4, s5, s6, s7, s8, s9, t0, t1, t2, t3, t4, t5, t6, t7, t8, t9,
                    u0, u1, u2, u3, u4, u5, u6, u7, u8x, u9, v0, v1, v2, v3, v4, v5, v6, v7, v8, v9, w0, w1, w2, w3, w4,
                    w5, w6, w7, w8, w9, x0, x1, x2, x3, x4, x5, x6, x7, x8, x9, y0, y1, y2, y3, y4, y5, y6, y7, y8, y9,
                    z0, z1, z2, z3, z4, z5, z6, z7, z8, z9
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
    both_ways(Holds { grid: [1, 2, 3], all: vec![Point { x: 1, y: 2 }], self_: Color::Green, outcome: Err(Color::Red) });
}

#[test]
fn enums() {
    let (cells, bytes) = both_ways(Color::BlueIsh);
    assert_eq!((cells, bytes), (vec![2], vec![2]));
    let (cells, bytes) = both_ways(Big::Z9);
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
