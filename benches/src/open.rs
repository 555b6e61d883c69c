//! Opening an artifact that was opened before, from 2 KiB to 30 MiB.

use std::fmt::Write;

use crate::guests::Pair;
use crate::report::{Report, nanoseconds_each};
use crate::{Result, peer};

pub(crate) fn run(report: &mut Report) -> Result<()> {
    let engine = peer::engine()?;
    for (label, functions) in [("2 KiB", 0), ("200 KiB", 300), ("1 MiB", 1_700), ("8 MiB", 14_000), ("30 MiB", 52_000)]
    {
        let pair = Pair::compile(&engine, padded(functions)?.as_bytes())?;
        let size = std::fs::metadata(&pair.artifact)?.len();
        report.compare(
            &format!("open, about {label} ({} KiB)", size >> 10),
            "µs",
            || Ok(nanoseconds_each(20, || pair.open_ours())? / 1e3),
            || Ok(nanoseconds_each(20, || pair.open_peers(&engine))? / 1e3),
        )?;
    }
    Ok(())
}

/// A module with this many functions of about half a KiB of code each, all different.
fn padded(functions: u32) -> Result<String> {
    let mut text = String::from("(module (memory 1) (func (export \"run\") (param i32) (result i32) local.get 0)\n");
    for index in 0..functions {
        write!(text, "(func (export \"f{index}\") (param i32) (result i32) local.get 0")?;
        for step in 0..24 {
            let constant = index.wrapping_mul(0x9e37_79b9).wrapping_add(step * 0x85eb_ca6b) as i32;
            write!(
                text,
                " i32.const {constant} i32.xor i32.load offset={step} i32.const {step} i32.rotl local.get 0 i32.add"
            )?;
        }
        text.push_str(")\n");
    }
    text.push(')');
    Ok(text)
}
