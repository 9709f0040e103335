//! What the hot paths cost, in instructions and allocations: `cargo test --workspace --bench costs`.
//!
//! Both are counted, not timed, so they are nearly the same on every run of a busy machine:
//! instructions by callgrind (Debian package `valgrind`), allocations by a counting allocator. A
//! case that costs more than `bounds.txt` allows fails; one that costs much less asks for its figure to
//! be lowered. `COSTS=write` writes the file anew; names of cases after `--` choose some. The figures
//! are those of the profile of tests: good to compare with one another, not with other programs.

#![allow(clippy::unwrap_used, reason = "a bench that cannot be set up may stop")]

mod bounds;
mod cases;
mod counts;

use std::process::ExitCode;

use bounds::Bounds;

#[global_allocator]
static ALLOCATOR: &stats_alloc::StatsAlloc<std::alloc::System> = &stats_alloc::INSTRUMENTED_SYSTEM;

fn main() -> ExitCode {
    let words: Vec<String> = std::env::args().skip(1).collect();
    match words.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        ["case", name, count] => {
            let case = cases::ALL.iter().find(|case| case.name == name).unwrap();
            println!("{}", counts::allocations(case, count.parse().unwrap()));
            ExitCode::SUCCESS
        }
        ref names => check(names),
    }
}

/// Counts every case, or those named, and holds each to its bound.
fn check(names: &[&str]) -> ExitCode {
    let writes = std::env::var("COSTS").is_ok_and(|word| word == "write");
    let mut bounds = Bounds::read();
    let named: Vec<_> = names.iter().filter(|word| !word.starts_with("--")).collect();
    let known: Vec<_> = cases::ALL.iter().map(|case| case.name).collect();
    if writes {
        bounds.keep(&known);
    }
    let strangers = named.iter().map(|name| **name).filter(|name| !known.contains(name));
    let mut wrong: Vec<_> = strangers.map(|name| format!("there is no case {name}")).collect();
    let lines = bounds.names().filter(|name| !known.contains(name));
    wrong.extend(lines.map(|name| format!("bounds.txt: there is no case {name}")));
    if !wrong.is_empty() {
        eprintln!("{}", wrong.join("\n"));
        return ExitCode::FAILURE;
    }
    let is_named = |name: &str| named.is_empty() || named.iter().any(|one| **one == name);
    if !counts::can_count() {
        return ExitCode::SUCCESS;
    }
    let mut failed = false;
    println!("{:<22}{:>14}{:>14}", "case", "instructions", "allocations");
    for case in cases::ALL.iter().filter(|case| is_named(case.name)) {
        let found = counts::of(case);
        print!("{:<22}{:>14}{:>14}", case.name, found.instructions, found.allocations);
        match bounds.judge(case.name, found) {
            _ if writes => println!(),
            Ok(()) => println!(),
            Err(why) => {
                println!("  {why}");
                failed = true;
            }
        }
        bounds.set(case.name, found);
    }
    if writes {
        bounds.write();
    }
    if failed { ExitCode::FAILURE } else { ExitCode::SUCCESS }
}
