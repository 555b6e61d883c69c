//! Real programs, compiled and run through the command as a user would.

use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use precast_tests::{precast_binary, say, shared, workspace_root};

/// A guest's file: in the repository, or beside it. Says so if it is in neither.
fn guest(name: &str) -> Option<PathBuf> {
    let own = workspace_root().join("tests/guests/wasm").join(name);
    if own.exists() {
        return Some(own);
    }
    let other = shared("guests").map(|folder| folder.join("wasm").join(name)).filter(|path| path.exists());
    if other.is_none() {
        say(format_args!("left out: guest {name}, which needs ../shared/guests"));
    }
    other
}

/// Runs `precast run` with its cache in `folder`, where it also finds the files it is granted.
fn run(folder: &Path, flags: &[&str], guest: &Path, arguments: &[&str]) -> Output {
    Command::new(precast_binary())
        .arg("run")
        .arg(format!("--cache={}", folder.join("cache").display()))
        .args(flags)
        .arg(guest)
        .args(arguments)
        .current_dir(folder)
        .stdin(Stdio::null())
        .output()
        .expect("precast can be run")
}

#[track_caller]
fn expect(output: &Output, status: i32, stdout: &str) {
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert_eq!(String::from_utf8_lossy(&output.stdout), stdout, "stderr: {stderr}");
    assert_eq!(output.status.code(), Some(status), "stderr: {stderr}");
}

#[test]
fn kernels_give_the_results_of_native_code() {
    // Computed by the same sources, compiled with `gcc -O2 -ffp-contract=off`.
    let kernels = [
        ("gemm", "20", "747304\n"),
        ("nbody", "2000000", "10498558\n"),
        ("fannkuch", "10", "7319638\n"),
        ("sha256", "40", "326967234\n"),
        ("json", "40", "959280463\n"),
        ("qsort", "2", "101756175\n"),
        ("mandel", "1500", "54915755\n"),
        ("vm", "300000", "-2045877010\n"),
    ];
    let folder = tempfile::tempdir().unwrap();
    for (name, argument, result) in kernels {
        let Some(guest) = guest(&format!("kern-{name}.core.wasm")) else { continue };
        expect(&run(folder.path(), &["--invoke", "run"], &guest, &[argument]), 0, result);
    }
}

/// Guests that print the same whenever they run: file, grants, arguments, output.
const COMMANDS: &[(&str, &[&str], &[&str], &str)] = &[
    ("as-main.p1.wasm", &["-A"], &[], "assemblyscript 97 128882 0.0\n1\n"),
    ("cpp-stl.p1.wasm", &[], &[], "area 6.91837e+08\n977 20000 205275 3628800 13334049\n"),
    (
        "c-zstd.p1.wasm",
        &[],
        &[],
        "level 1 1048576 -> 198428 ok\nlevel 4 1048576 -> 186573 ok\nlevel 7 1048576 -> 160705 ok\n",
    ),
    (
        "go-bench.p1.wasm",
        &["--allow=clocks,random"],
        &[],
        "sha256 5991ea6877ba86b7\njson 166670 -1999\nregexp 2000\ngzip 963\ngoroutines 499500\npng 1136\npanic skip\n",
    ),
    (
        "rs-kernels.p1.wasm",
        &["--allow=clocks,random"],
        &["all", "2"],
        "sha256 65d62148fb509726\nblake3 503fdfd2dda6ce36\njson 2000 113984\nregex 310622\nimage 7550492\n\
         brotli 130428 -> 20591\ngzip 130428 -> 18288\nsort 379234\nnbody 0.016598443\n",
    ),
];

#[test]
fn commands_print_what_they_print_elsewhere() {
    let folder = tempfile::tempdir().unwrap();
    for (name, grants, arguments, stdout) in COMMANDS {
        if let Some(guest) = guest(name) {
            expect(&run(folder.path(), grants, &guest, arguments), 0, stdout);
        }
    }
}

#[test]
fn icepll_prints_a_plan() {
    let folder = tempfile::tempdir().unwrap();
    let Some(guest) = guest("icepll.p1.wasm") else { return };
    let output = run(folder.path(), &[], &guest, &["-i", "12", "-o", "48"]);
    let stdout = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{output:?}");
    assert!(stdout.contains("F_PLLOUT:   48.000 MHz (achieved)") && stdout.contains("768.000 MHz"), "{stdout}");
}

#[test]
fn zig_reports_on_stderr() {
    let folder = tempfile::tempdir().unwrap();
    let Some(guest) = guest("zig-simd.p1.wasm") else { return };
    let output = run(folder.path(), &["-A"], &guest, &[]);
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{stderr}");
    assert!(stderr.contains("zig blake3 5c86e8238999ae74e0b51e5503847b03 fib 75025"), "{stderr}");
    assert!(stderr.contains("vec 7598.434"), "{stderr}");
}

#[test]
fn sqlite_answers_queries() {
    let folder = tempfile::tempdir().unwrap();
    let Some(guest) = guest("c-sqlite.p1.wasm") else { return };
    let output = run(folder.path(), &["--allow=clocks,random"], &guest, &["3000"]);
    let stdout = String::from_utf8_lossy(&output.stdout);
    // What stands before the X is random.
    let expected = "sqlite 3.54.1 :memory:\n3000|1569579|308893361.081\n485|10\n197|9\n396|9\n11952\nname 1 odd\n\
                    name 1008 odd\n1548008755920\n3|3.14|";
    assert!(stdout.starts_with(expected) && stdout.ends_with("X\nok\n"), "{output:?}");
}

#[test]
fn sqlite_keeps_a_database_in_a_granted_folder() {
    let folder = tempfile::tempdir().unwrap();
    let Some(guest) = guest("c-sqlite.p1.wasm") else { return };
    let output = run(folder.path(), &["--allow=fs:.=/,clocks,random"], &guest, &["500", "/x.db"]);
    assert!(output.status.success(), "{output:?}");
    assert!(String::from_utf8_lossy(&output.stdout).ends_with("ok\n"), "{output:?}");
    assert!(std::fs::read(folder.path().join("x.db")).unwrap().starts_with(b"SQLite format 3\0"));
}

#[test]
fn the_rust_standard_library_works() {
    let folder = tempfile::tempdir().unwrap();
    let guest = guest("rs-std-cli.p1.wasm").expect("the repository has it");
    std::fs::create_dir(folder.path().join("data")).unwrap();
    let run = |flags: &[&str], arguments: &[&str]| run(folder.path(), flags, &guest, arguments);

    let output = run(&["--allow=fs:data=/data,clocks"], &["fs"]);
    let stdout = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{output:?}");
    for part in ["tail \"one\\nline two\\n\"", "missing NotFound", "escape PermissionDenied", "gone true"] {
        assert!(stdout.contains(part), "{part}: {stdout}");
    }
    assert_eq!(run(&[], &["exit", "7"]).status.code(), Some(7));
    assert_eq!(run(&["--allow=clocks"], &["sleep", "50"]).status.code(), Some(0));

    let trap = run(&[], &["trap"]);
    assert_eq!(trap.status.code(), Some(134), "{trap:?}");
    assert!(String::from_utf8_lossy(&trap.stderr).contains("trap: unreachable"), "{trap:?}");
    let panic = run(&[], &["panic"]);
    assert_eq!(panic.status.code(), Some(134), "{panic:?}");
    assert!(String::from_utf8_lossy(&panic.stderr).contains("panicked at"), "{panic:?}");

    let denied = run(&[], &["fs"]);
    assert!(!denied.status.success(), "{denied:?}");
    assert!(String::from_utf8_lossy(&denied.stderr).contains("--allow=fs"), "{denied:?}");
}

/// The same program as a component, whose runs tell only success and failure.
#[test]
fn components_run_as_commands() {
    let folder = tempfile::tempdir().unwrap();
    let guest_of_repository = guest("rs-std-cli.p2.wasm").expect("the repository has it");
    std::fs::create_dir(folder.path().join("data")).unwrap();
    let run_std = |flags: &[&str], arguments: &[&str]| run(folder.path(), flags, &guest_of_repository, arguments);
    let output = run_std(&["--allow=fs:data=/data,clocks,random"], &["fs"]);
    let stdout = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{output:?}");
    for part in ["tail \"one\\nline two\\n\"", "missing NotFound", "escape PermissionDenied", "gone true"] {
        assert!(stdout.contains(part), "{part}: {stdout}");
    }
    assert_eq!(run_std(&["-A"], &["exit", "7"]).status.code(), Some(1));
    let trap = run_std(&["-A"], &["trap"]);
    assert_eq!(trap.status.code(), Some(134), "{trap:?}");
    let denied = run_std(&[], &["sleep", "1"]);
    assert!(String::from_utf8_lossy(&denied.stderr).contains("--allow=clocks"), "{denied:?}");

    let tcp = guest("rs-tcp.p2.wasm").expect("the repository has it");
    expect(&run(folder.path(), &["-A"], &tcp, &[]), 0, "tcp loop \"olleh\"\nudp loop \"dgram\"\n");

    let Some(polyglot) = guest("polyglot-cli.p2.wasm") else { return };
    let output = run(folder.path(), &["-A"], &polyglot, &[]);
    assert_eq!(output.status.code(), Some(0), "{output:?}");
    let stdout = String::from_utf8_lossy(&output.stdout);
    let words = "rust: n=4 sum=2.5 mean=0.625 words=[(\"three\", 3), (\"two\", 2), (\"one\", 1)]";
    let rendered = r#"{"title":"Report","items":{"n":"4","top":"three","none":null}}"#;
    for part in [words, rendered, "err path: Err(Problem::Bad(\"no numbers in no digits\"))"] {
        assert!(stdout.contains(part), "{part}: {stdout}");
    }
}

/// Core guests that need a later proposal are refused by its name.
#[test]
fn what_is_not_there_yet_is_refused_by_name() {
    let folder = tempfile::tempdir().unwrap();
    let refused = [
        ("c-mem64.core.wasm", "memory64"),
        ("c-threads.p1threads.wasm", "threads"),
        ("c-simd.core.wasm", "relaxed SIMD"),
        ("rs-eh.p1.wasm", "exception handling"),
        ("py-p2w-gc.wasm", "garbage collection"),
        ("c-cli.p3.wasm", "component model async"),
    ];
    for (name, proposal) in refused {
        let Some(guest) = guest(name) else { continue };
        let output = run(folder.path(), &[], &guest, &[]);
        assert_eq!(output.status.code(), Some(125), "{name}: {output:?}");
        let stderr = String::from_utf8_lossy(&output.stderr);
        assert!(stderr.contains("unsupported") && stderr.contains(proposal), "{name}: {stderr}");
    }
}

#[test]
fn a_reactor_can_be_called() {
    let folder = tempfile::tempdir().unwrap();
    let Some(guest) = guest("py-p2w-shim.p1.wasm") else { return };
    expect(&run(folder.path(), &["--invoke", "write_i32"], &guest, &["1024"]), 0, "1024");
    let output = run(folder.path(), &["--invoke", "no-such-export"], &guest, &[]);
    assert_eq!(output.status.code(), Some(2), "{output:?}");
    assert!(String::from_utf8_lossy(&output.stderr).contains("`add_class`"), "{output:?}");
}
