//! How a case is counted: this program runs itself, once for allocations and once below callgrind.

use std::process::Command;

use stats_alloc::Region;

use crate::ALLOCATOR;
use crate::bounds::Costs;
use crate::cases::Case;

/// The function whose instructions count; its name is a pattern for callgrind.
#[inline(never)]
fn measured_repetitions(count: usize, work: &mut dyn FnMut()) {
    for _ in 0..count {
        work();
    }
}

/// Sets a case up, does it some times, and gives the allocations of those.
pub(crate) fn allocations(case: &Case, count: usize) -> usize {
    let mut work = (case.set_up)();
    // What is made at first use is not what every use costs.
    for _ in 0..3 {
        work();
    }
    let region = Region::new(ALLOCATOR);
    measured_repetitions(count, &mut work);
    let change = region.change();
    change.allocations + change.reallocations
}

/// Whether callgrind is there; in CI it must be.
pub(crate) fn can_count() -> bool {
    let there = Command::new("valgrind").arg("--version").output().is_ok();
    if !there {
        assert!(std::env::var_os("CI").is_none(), "valgrind (Debian package valgrind) is missing");
        eprintln!("left out: valgrind is not installed");
    }
    there
}

/// What one repetition costs.
pub(crate) fn of(case: &Case) -> Costs {
    let me = std::env::current_exe().unwrap();
    let count = case.repetitions;
    let words = ["case", case.name, &count.to_string()];
    let plain = Command::new(&me).args(words).output().unwrap();
    let told = String::from_utf8_lossy(&plain.stdout).into_owned();
    let errors = String::from_utf8_lossy(&plain.stderr);
    assert!(plain.status.success(), "{}: {told} {errors}", case.name);
    let allocations: u64 = told.lines().last().unwrap().parse().unwrap();

    let folder = tempfile::tempdir().unwrap();
    let out = folder.path().join("callgrind.out");
    let below = Command::new("valgrind")
        .args(["--tool=callgrind", "--collect-atstart=no"])
        .arg("--toggle-collect=*measured_repetitions*")
        .arg(format!("--callgrind-out-file={}", out.display()))
        .arg(&me)
        .args(words)
        .output()
        .unwrap();
    assert!(below.status.success(), "{}", String::from_utf8_lossy(&below.stderr));
    let text = std::fs::read_to_string(out).unwrap();
    let total = text.lines().rev().find_map(|line| line.strip_prefix("totals: "));
    let instructions: u64 = total.unwrap().trim().parse().unwrap();
    assert!(instructions > 0, "callgrind did not find the function to count");
    let count = count as u64;
    Costs { instructions: instructions / count, allocations: allocations.div_ceil(count) }
}
