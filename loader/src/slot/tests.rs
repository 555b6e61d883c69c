//! Slots: fresh, reset, refused.

use precast_abi::meta::HotRow;
use precast_abi::slot::{GUARDED_RESERVATION, WASM_PAGE};

use super::reset::refusals;
use super::*;
use crate::Artifact;
use crate::sys::memory::has_markers;
use crate::testing::{BASE, Guest, PAGE, SECOND_MEMORY, TestArtifact};

fn fresh(artifact: &Artifact) -> Slot {
    Slot::map(artifact.inner()).unwrap()
}

fn write(slot: &Slot, offset: u64, value: u8) {
    // SAFETY: tests write accessible memory of their own slots.
    unsafe { slot.at(offset as usize).write(value) };
}

fn read(slot: &Slot, offset: u64) -> u8 {
    // SAFETY: tests read accessible memory of their own slots.
    unsafe { slot.at(offset as usize).read() }
}

/// Makes a slot fresh. What its memories grew by is given back at once, unless nothing was written there.
fn reset(slot: &mut Slot) {
    reset_leaving(slot, 0);
}

/// Makes a slot fresh. What its memories grew by is left if no more than `few` bytes of it were written, and given back then.
/// Whether that was so.
fn reset_leaving(slot: &mut Slot, few: usize) -> bool {
    slot.reset(few).unwrap();
    let is_left = slot.has_grown();
    if is_left {
        Slot::give_back_together(std::iter::once(&mut *slot)).unwrap();
    }
    assert!(!slot.has_grown());
    is_left
}

/// Whether an access there would be a fault, as a processor sees it.
fn faults(slot: &Slot, offset: u64) -> bool {
    let (mut pipe, at) = ([0; 2], slot.at(offset as usize));
    // SAFETY: the kernel reads one byte, if it can, into a pipe that is closed again.
    unsafe {
        assert_eq!(libc::pipe(pipe.as_mut_ptr()), 0);
        let written = libc::write(pipe[1], at.cast(), 1);
        let error = std::io::Error::last_os_error().raw_os_error();
        pipe.iter().for_each(|end| assert_eq!(libc::close(*end), 0));
        assert!(written == 1 || error == Some(libc::EFAULT));
        written != 1
    }
}

#[test]
fn a_fresh_slot_holds_the_image() {
    let parts = TestArtifact::new();
    let slot = fresh(&parts.open());
    for at in 0..2 * PAGE {
        assert_eq!(read(&slot, BASE - PAGE + at), parts.image[at as usize]);
    }
    for at in 0..PAGE {
        assert_eq!(read(&slot, SECOND_MEMORY + PAGE + at), parts.image[(2 * PAGE + at) as usize]);
        assert_eq!(read(&slot, BASE - 2 * PAGE + at), 0);
    }
    // Below the block, where the low bits of addresses are others than those of the guest's own stack.
    assert_eq!(slot.stack().end, slot.base().addr() - 2 * PAGE as usize - 0x880);
}

#[test]
fn reset_makes_every_kind_of_state_fresh() {
    let artifact = TestArtifact::new().open();
    let mut slot = fresh(&artifact);
    let expected = slot.hash();
    let stack = slot.stack().start as u64 - slot.start().addr() as u64;
    let second = SECOND_MEMORY..SECOND_MEMORY + 2 * WASM_PAGE;
    let ends = [
        stack,
        BASE - 2 * PAGE - 1,  // the stack's first and last byte
        BASE - 2 * PAGE,      // the block, zero
        BASE - PAGE,          // the block's end, from the image
        BASE,                 // the memory, from the image
        BASE + PAGE,          // the memory, zero
        BASE + WASM_PAGE - 1, // its end
        second.start,
        second.start + PAGE, // from the image
        second.end - 1,
    ];
    // The ways to give back what memories grew by, in turns: so each finds what the other has left.
    for (round, few) in [0, 0, usize::MAX, usize::MAX, 0, usize::MAX].into_iter().enumerate() {
        // The first to grow has nobody before it.
        let few = if round == 0 { 0 } else { few };
        let round = round as u8;
        for at in ends {
            write(&slot, at, round + 100);
        }
        let second_size = WASM_PAGE * (3 + u64::from(round));
        slot.set_memory_size(0, 2 * WASM_PAGE).unwrap();
        slot.set_memory_size(1, second_size).unwrap();
        write(&slot, BASE + 2 * WASM_PAGE - 1, 7);
        write(&slot, SECOND_MEMORY + second_size - 1, 7);
        assert_ne!(slot.hash(), expected);
        assert_eq!(reset_leaving(&mut slot, few), few > 0 && has_markers());
        assert_eq!(slot.hash(), expected, "round {round}");
        // The second memory is a checked one, all of it accessible.
        for (at, is_closed) in
            [(BASE + WASM_PAGE - 1, false), (BASE + WASM_PAGE, true), (BASE + 2 * WASM_PAGE - 1, true)]
        {
            assert_eq!(faults(&slot, at), is_closed);
        }
        slot.set_memory_size(0, 2 * WASM_PAGE).unwrap();
        assert_eq!(read(&slot, BASE + 2 * WASM_PAGE - 1), 0, "grown memory is zero");
        reset_leaving(&mut slot, few);
    }
    assert_eq!(fresh(&artifact).hash(), expected);
}

#[test]
fn a_slot_that_wrote_more_than_it_may_keep_is_fresh_too() {
    let mut parts = TestArtifact::new();
    parts.meta.memories[0].min = 128;
    let artifact = parts.open();
    let mut slot = fresh(&artifact);
    let expected = slot.hash();
    for every in [1, 2, 3] {
        let pages = (BASE - 2 * PAGE..BASE + 128 * WASM_PAGE).step_by(PAGE as usize * every);
        pages.for_each(|page| write(&slot, page, 0xee));
        reset(&mut slot);
        assert_eq!(slot.hash(), expected);
    }
}

#[test]
fn random_writes_are_undone() {
    let artifact = TestArtifact::new().open();
    let mut slot = fresh(&artifact);
    let expected = slot.hash();
    let mut state = 1u64;
    let mut random = |below: usize| {
        state = state.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
        (state >> 33) as usize % below
    };
    for _ in 0..300 {
        for _ in 0..random(40) {
            let range = &slot.blueprint.accessible[random(slot.blueprint.accessible.len())];
            write(&slot, (range.start + random(range.len())) as u64, random(256) as u8);
        }
        reset(&mut slot);
        assert_eq!(slot.hash(), expected);
    }
}

/// A slot that follows a set with the first page of memory in it.
fn learnt(artifact: &Artifact) -> Slot {
    let mut slot = fresh(artifact);
    for round in 0..100 {
        write(&slot, BASE + 7, round);
        reset(&mut slot);
    }
    assert!(slot.frozen.is_some());
    slot
}

/// Uses a slot that asks the kernel what was written, and to which all sets are refused.
fn use_unprotected(slot: &mut Slot, expected: [u8; 32]) {
    assert!(slot.frozen.is_none());
    let anywhere: Vec<_> = slot.blueprint.accessible.iter().flat_map(|range| range.clone().step_by(4096)).collect();
    for some in anywhere.chunks(40) {
        some.iter().for_each(|at| write(slot, *at as u64, 0xee));
        assert_ne!(slot.hash(), expected);
        reset(slot);
        assert_eq!(slot.hash(), expected);
        assert!(slot.frozen.is_none());
    }
}

#[test]
fn where_the_system_refuses_to_protect_pages_all_are_writable() {
    for after in 0.. {
        let artifact = TestArtifact::new().open();
        let first = learnt(&artifact);
        let calls = first.blueprint.others.len() + first.frozen.as_ref().unwrap().set.runs.len();
        if after == calls {
            break;
        }
        refusals::AFTER.set(Some(after));
        let mut slot = fresh(&artifact);
        assert_eq!(refusals::AFTER.get(), Some(0), "as many calls went well");
        let expected = slot.hash();
        use_unprotected(&mut slot, expected);
        refusals::AFTER.set(None);
    }
}

#[test]
fn a_slot_to_which_a_set_was_refused_follows_the_next() {
    let artifact = TestArtifact::new().open();
    let mut first = learnt(&artifact);
    refusals::AFTER.set(Some(1));
    let mut slot = fresh(&artifact);
    refusals::AFTER.set(None);
    let expected = slot.hash();
    for _ in 0..2 {
        assert!(slot.frozen.is_none());
        write(&first, BASE + 5 * PAGE, 1);
        reset(&mut first);
    }
    reset(&mut slot);
    assert!(slot.frozen.is_some() && slot.version == first.version);
    assert_eq!((first.hash(), slot.hash()), (expected, expected));
}

#[test]
fn a_slot_to_which_the_next_set_is_refused_is_writable() {
    let artifact = TestArtifact::new().open();
    let mut slot = learnt(&artifact);
    let expected = slot.hash();
    write(&slot, BASE + 5 * PAGE, 1);
    reset(&mut slot);
    write(&slot, BASE + 5 * PAGE, 1);
    refusals::AFTER.set(Some(2));
    reset(&mut slot);
    assert_eq!((slot.hash(), refusals::AFTER.get()), (expected, Some(0)));
    use_unprotected(&mut slot, expected);
    refusals::AFTER.set(None);
}

#[test]
fn slots_beyond_the_mappings_that_there_may_be_ask_the_kernel() {
    let artifact = TestArtifact::new().open();
    let mut slot = learnt(&artifact);
    let expected = slot.hash();
    refusals::RUNS.set(true);
    assert!(fresh(&artifact).frozen.is_none());
    // One that follows a set goes on with it, until there is another.
    for _ in 0..2 {
        assert!(slot.frozen.is_some());
        write(&slot, BASE + 5 * PAGE, 1);
        reset(&mut slot);
    }
    use_unprotected(&mut slot, expected);
    refusals::RUNS.set(false);
}

#[test]
fn late_writes_are_undone_wherever_they_are() {
    let artifact = TestArtifact::new().open();
    let mut slot = learnt(&artifact);
    let expected = fresh(&artifact).hash();
    let anywhere: Vec<_> = slot.blueprint.accessible.iter().flat_map(|range| range.clone().step_by(4096)).collect();
    for few in anywhere.chunks(5) {
        few.iter().for_each(|at| write(&slot, *at as u64, 0xee));
        write(&slot, BASE + 9, 9);
        assert_ne!(slot.hash(), expected);
        let frozen = slot.frozen.as_ref().unwrap();
        assert!(!frozen.late.is_open());
        reset(&mut slot);
        assert_eq!(slot.hash(), expected);
        assert!(slot.frozen.as_ref().unwrap().late.is_empty());
    }
}

#[test]
fn a_slot_that_was_written_everywhere_late_is_fresh_and_follows_the_set_again() {
    let artifact = TestArtifact::new().open();
    let mut slot = learnt(&artifact);
    let expected = fresh(&artifact).hash();
    for round in 0..4 {
        for range in slot.blueprint.accessible.clone() {
            range.step_by(4096).for_each(|at| write(&slot, at as u64 + 100, 0xee));
        }
        // After the second time all is in the set.
        assert_eq!(slot.frozen.as_ref().unwrap().late.is_open(), round < 2);
        reset(&mut slot);
        assert_eq!(slot.hash(), expected);
        assert!(slot.frozen.as_ref().is_some_and(|frozen| !frozen.late.is_open() && frozen.late.is_empty()));
    }
}

#[test]
fn slots_learn_from_each_other() {
    let artifact = TestArtifact::new().open();
    let (mut first, mut second) = (learnt(&artifact), fresh(&artifact));
    let expected = second.hash();
    let version = |slot: &Slot| slot.frozen.as_ref().unwrap().set.version;
    let before = version(&second);
    assert_eq!(version(&first), before, "a new slot follows the set at once");
    for slot in [&mut first, &mut second] {
        write(slot, SECOND_MEMORY, 1);
        reset(slot);
    }
    reset(&mut first);
    assert!(version(&first) > before, "what was written late twice is in the set");
    assert_eq!(version(&first), version(&second));
    write(&first, SECOND_MEMORY, 2);
    assert!(first.frozen.as_ref().unwrap().late.is_empty());
    reset(&mut first);
    assert_eq!((first.hash(), second.hash()), (expected, expected));
    // What nobody writes any more leaves the set.
    for _ in 0..64 * 64 {
        write(&first, BASE, 1);
        reset(&mut first);
    }
    write(&first, SECOND_MEMORY, 2);
    assert!(!first.frozen.as_ref().unwrap().late.is_empty());
    reset(&mut first);
    assert_eq!(first.hash(), expected);
}

#[test]
fn other_faults_are_no_late_writes() {
    let artifact = TestArtifact::new().open();
    let slot = learnt(&artifact);
    let at = |offset: u64| slot.at(offset as usize).addr();
    let late = |offset: u64| crate::late::allow(at(offset));
    assert!(!late(BASE + WASM_PAGE) && !late(SECOND_MEMORY + 16 * WASM_PAGE), "beyond the memories");
    assert!(!late(0) && !crate::late::allow(0), "the host's");
    assert!(late(SECOND_MEMORY + 5) && !late(SECOND_MEMORY + 6), "once for each page");
    drop(slot);
}

#[test]
fn pooled_slots_are_fresh_and_taken_again() {
    let artifact = TestArtifact::new().open();
    let pool = &artifact.inner().pool;
    let mut guest = Guest::new(&artifact);
    let expected = guest.slot.hash();
    assert!(guest.call("touch", 0).is_ok());
    assert_ne!(guest.slot.hash(), expected);
    let start = guest.slot.start();
    pool.give_back(guest.slot, None);
    assert_eq!(artifact.slot_hashes().unwrap(), (expected, vec![expected]));
    let mut slot = pool.take(artifact.inner()).unwrap().0;
    assert_eq!((slot.start(), slot.hash()), (start, expected));
    assert_ne!(pool.take(artifact.inner()).unwrap().0.start(), start);
}

/// A guest that grows its memory, and writes a page of that. The slot that it had.
fn grow_a_pooled_slot(artifact: &Artifact, expected: [u8; 32]) -> *mut u8 {
    let pool = &artifact.inner().pool;
    let mut slot = pool.take(artifact.inner()).unwrap().0;
    assert_eq!(slot.hash(), expected);
    slot.set_memory_size(0, 2 * WASM_PAGE).unwrap();
    write(&slot, BASE + WASM_PAGE, 1);
    let start = slot.start();
    pool.give_back(slot, None);
    start
}

/// Whether the kernel has no markers, for tests that are left out then. Says so.
fn lacks_markers() -> bool {
    if !has_markers() {
        println!("left out: this kernel has no markers");
    }
    !has_markers()
}

#[test]
fn slots_whose_memories_have_grown_wait_for_others() {
    if lacks_markers() {
        return;
    }
    let artifact = TestArtifact::new().open();
    let expected = fresh(&artifact).hash();
    let idle = |count: usize| (expected, vec![expected; count]);
    // The first guest of a slot has nobody before it, so each slot is used twice until it waits.
    let used: Vec<_> = (0..16).map(|_| grow_a_pooled_slot(&artifact, expected)).collect();
    assert!(used.chunks(2).all(|pair| pair[0] == pair[1] && used.iter().filter(|slot| **slot == pair[0]).count() == 2));
    let again: Vec<_> = (0..8).map(|_| grow_a_pooled_slot(&artifact, expected)).collect();
    assert!(again.iter().all(|slot| used.contains(slot)), "eight are enough");
    assert!((0..8).all(|at| !again[..at].contains(&again[at])), "those that wait are not used");
    // One that waits is given when there is no other.
    let last = grow_a_pooled_slot(&artifact, expected);
    assert_eq!(artifact.slot_hashes().unwrap(), idle(8), "whoever looks finds fresh ones");
    // Guests that come seldom need no more than one slot.
    growth::in_tests::SOON.set(std::time::Duration::ZERO);
    assert_eq!([(); 20].map(|()| grow_a_pooled_slot(&artifact, expected)), [last; 20]);
    growth::in_tests::SOON.set(std::time::Duration::MAX);
    assert_eq!(artifact.slot_hashes().unwrap(), idle(8));
}

#[test]
fn slots_do_not_wait_where_there_may_be_no_others() {
    for room in [1, 2, 3] {
        let artifact = TestArtifact::new().open();
        let pool = &artifact.inner().pool;
        let expected = fresh(&artifact).hash();
        // What a slot keeps of its pages, and of a memory that has grown.
        pool.set_limit(room * (fresh(&artifact).resident() + (80 << 10)));
        let used: Vec<_> = (0..60).map(|_| grow_a_pooled_slot(&artifact, expected)).collect();
        let mut slots = used[20..].to_vec();
        slots.sort();
        slots.dedup();
        assert!(slots.len() <= room + 1, "{} of {room}", slots.len());
    }
}

#[test]
fn memories_grow_up_to_their_reservation() {
    let artifact = TestArtifact::new().open();
    let mut slot = fresh(&artifact);
    slot.set_memory_size(1, 16 * WASM_PAGE).unwrap();
    write(&slot, SECOND_MEMORY + 16 * WASM_PAGE - 1, 1);
    slot.set_memory_size(1, 0).unwrap();
    assert_eq!(read(&slot, SECOND_MEMORY + 16 * WASM_PAGE - 1), 1, "nothing shrinks");
    let error = slot.set_memory_size(1, 16 * WASM_PAGE + 1).unwrap_err();
    assert!(matches!(error, SlotError::MemoryTooLarge { memory: 1, reservation, .. } if reservation == 16 * WASM_PAGE));
    assert!(matches!(slot.set_memory_size(2, 1), Err(SlotError::Malformed(_))));
}

#[test]
fn what_memories_grew_by_is_left_if_little_of_it_was_written() {
    if lacks_markers() {
        return;
    }
    let artifact = TestArtifact::new().open();
    let mut slot = fresh(&artifact);
    let grow = |slot: &mut Slot, pages: u64, written: u64| {
        slot.set_memory_size(0, (1 + pages) * WASM_PAGE).unwrap();
        (0..written).for_each(|page| write(slot, BASE + WASM_PAGE + page * PAGE, 1));
    };
    assert!(!reset_leaving(&mut slot, usize::MAX), "nothing grew");
    let few = 3 * PAGE as usize;
    // The first is the first. After that the kernel is asked, and then now and then, so that a change is noticed.
    grow(&mut slot, 2, 3);
    assert!(!reset_leaving(&mut slot, few));
    for (written, is_left) in [(3, true), (4, false), (3, true)] {
        let mut answers = (0..80).map(|_| {
            grow(&mut slot, 2, written);
            reset_leaving(&mut slot, few)
        });
        assert!(answers.by_ref().take(2 * 16).any(|left| left == is_left));
        assert!(answers.all(|left| left == is_left));
    }
    let expected = fresh(&artifact).hash();
    // No more than fits into few, or more than may be marked, whatever was written.
    grow(&mut slot, 1, 16);
    assert!(reset_leaving(&mut slot, WASM_PAGE as usize));
    grow(&mut slot, 32, 1);
    assert!(reset_leaving(&mut slot, WASM_PAGE as usize));
    grow(&mut slot, 33, 1);
    assert!(!reset_leaving(&mut slot, WASM_PAGE as usize));
    assert_eq!(slot.hash(), expected);
}

#[test]
fn memories_of_several_slots_are_given_back_together() {
    let artifact = TestArtifact::new().open();
    let mut slots: Vec<_> = (0..40).map(|_| fresh(&artifact)).collect();
    let expected = slots[0].hash();
    for (round, pages) in [4, 2, 1, 3].into_iter().enumerate() {
        for slot in &mut slots {
            slot.set_memory_size(0, (1 + pages) * WASM_PAGE).unwrap();
            write(slot, BASE + (1 + pages) * WASM_PAGE - 1, 1);
            slot.reset(usize::MAX).unwrap();
            assert_eq!(slot.has_grown(), round > 0 && has_markers());
        }
        Slot::give_back_together(slots.iter_mut()).unwrap();
        for slot in &mut slots {
            assert_eq!((slot.has_grown(), slot.hash()), (false, expected));
            assert!((1..=pages).all(|page| faults(slot, BASE + page * WASM_PAGE)));
        }
    }
}

/// A slot whose memory once had three pages more, which are marked now.
fn marked(artifact: &Artifact) -> Slot {
    let mut slot = fresh(artifact);
    for _ in 0..2 {
        slot.set_memory_size(0, 4 * WASM_PAGE).unwrap();
        reset_leaving(&mut slot, usize::MAX);
    }
    slot
}

#[test]
fn instances_that_do_not_grow_need_nothing_of_those_before() {
    let artifact = TestArtifact::new().open();
    let mut slot = marked(&artifact);
    refusals::AFTER.set(Some(0));
    assert!(!reset_leaving(&mut slot, usize::MAX) && !reset_leaving(&mut slot, 0));
    refusals::AFTER.set(None);
    assert_eq!(slot.hash(), fresh(&artifact).hash());
}

#[test]
fn a_memory_that_the_system_does_not_let_grow_is_as_it_was() {
    if lacks_markers() {
        return;
    }
    let artifact = TestArtifact::new().open();
    let expected = fresh(&artifact).hash();
    // To where it was before, or beyond; which call is refused; and whether the slot can be used again.
    for (pages, after, is_usable) in [(3, 0, false), (6, 1, false), (6, 0, true)] {
        let mut slot = marked(&artifact);
        refusals::AFTER.set(Some(after));
        let error = slot.set_memory_size(0, pages * WASM_PAGE).unwrap_err();
        refusals::AFTER.set(None);
        assert!(matches!(error, SlotError::Os { what: "grow a memory", .. }), "{error}");
        assert!((1..6).all(|page| faults(&slot, BASE + page * WASM_PAGE)));
        assert_eq!((slot.hash(), slot.reset(0).is_ok()), (expected, is_usable));
    }
}

#[test]
fn slots_whose_memories_cannot_be_given_back_are_unmapped() {
    let artifact = TestArtifact::new().open();
    let pool = &artifact.inner().pool;
    let expected = fresh(&artifact).hash();
    // One by itself, and the last of eight that wait, each after its second guest.
    for guests in [1, if has_markers() { 16 } else { 1 }] {
        for _ in 1..guests {
            grow_a_pooled_slot(&artifact, expected);
        }
        let mut slot = pool.take(artifact.inner()).unwrap().0;
        slot.set_memory_size(0, 2 * WASM_PAGE).unwrap();
        refusals::AFTER.set(Some(0));
        pool.give_back(slot, None);
        refusals::AFTER.set(None);
        assert_eq!((pool.resident(), artifact.slot_hashes().unwrap().1), (0, vec![]));
    }
    grow_a_pooled_slot(&artifact, expected);
    assert_eq!(artifact.slot_hashes().unwrap(), (expected, vec![expected]));
}

#[test]
fn a_slot_that_waits_is_used_where_no_other_can_be_mapped() {
    let mut parts = TestArtifact::new();
    // Two such slots fit into the addresses of a process at most.
    parts.meta.header.layout.slot_size = 1 << 46;
    let artifact = parts.open();
    let pool = &artifact.inner().pool;
    let expected = fresh(&artifact).hash();
    // All that there is room for.
    let all: Vec<_> = std::iter::from_fn(|| pool.take(artifact.inner()).ok()).collect();
    let starts: Vec<_> = all.iter().map(|(slot, _)| slot.start()).collect();
    all.into_iter().for_each(|(slot, _)| drop(pool.give_back(slot, None)));
    // Each waits after its second guest.
    for _ in 0..6 * starts.len() {
        assert!(starts.contains(&grow_a_pooled_slot(&artifact, expected)));
    }
    assert!(!starts.is_empty() && starts.len() <= 2);
    assert_eq!(artifact.slot_hashes().unwrap_err().to_string(), Slot::map(artifact.inner()).unwrap_err().to_string());
}

#[test]
fn minima_beyond_the_reservation_are_an_error_of_the_instance() {
    for (memory, min) in [(0, GUARDED_RESERVATION / WASM_PAGE + 1), (1, 17), (1, u64::MAX)] {
        let mut parts = TestArtifact::new();
        parts.meta.memories[memory].min = min;
        let error = Slot::map(parts.open().inner()).unwrap_err();
        assert!(matches!(error, SlotError::MemoryTooLarge { memory: found, .. } if found == memory), "{error}");
    }
}

#[test]
fn contradicting_tables_are_refused() {
    let malformed = |change: fn(&mut TestArtifact)| {
        let mut parts = TestArtifact::new();
        change(&mut parts);
        let error = Slot::map(parts.open().inner()).unwrap_err();
        assert!(matches!(error, SlotError::Malformed(_)), "{error}");
    };
    malformed(|parts| parts.meta.memories[1].slot_offset = BASE);
    malformed(|parts| parts.meta.memories[1].slot_offset += WASM_PAGE);
    malformed(|parts| parts.meta.memories[1].slot_offset = u64::MAX - PAGE + 1);
    malformed(|parts| parts.meta.memories[0].slot_offset = 0);
    malformed(|parts| parts.meta.memories[0].reservation -= PAGE);
    malformed(|parts| parts.meta.memories[0].reservation -= 1);
    malformed(|parts| parts.meta.memories[0].model = 7);
    malformed(|parts| parts.meta.runs[0].len = 0);
    malformed(|parts| parts.meta.runs[0].len += 1);
    malformed(|parts| parts.meta.runs[0].len = u64::MAX - PAGE + 1);
    malformed(|parts| parts.meta.runs[0].slot_offset = 0);
    malformed(|parts| parts.meta.runs[1].slot_offset = BASE);
    malformed(|parts| parts.meta.runs[1].slot_offset = SECOND_MEMORY + 16 * WASM_PAGE);
    malformed(|parts| parts.meta.runs[1].file_offset += PAGE);
    malformed(|parts| parts.meta.runs[0].file_offset = 0);
    let hot = |slot_offset, len| {
        let mut parts = TestArtifact::new();
        parts.meta.hot.push(HotRow { slot_offset, len });
        parts.place_runs();
        Slot::map(parts.open().inner()).map(|mut slot| slot.hash())
    };
    assert_eq!(hot(BASE - 3 * PAGE, 4 * PAGE).unwrap(), fresh(&TestArtifact::new().open()).hash());
    for (slot_offset, len) in [
        (BASE, 0),
        (BASE, 1),
        (BASE + 1, PAGE),
        (0, PAGE),
        (BASE + WASM_PAGE, PAGE),
        (BASE, u64::MAX - PAGE + 1),
        (u64::MAX - PAGE + 1, PAGE),
    ] {
        let error = hot(slot_offset, len).unwrap_err();
        assert!(matches!(error, SlotError::Malformed(_)), "{error}");
    }
}

#[test]
fn addresses_that_the_system_refuses_are_an_error_with_the_number_wanted() {
    let mut parts = TestArtifact::new();
    parts.meta.header.layout.slot_size = 1 << 46;
    let artifact = parts.open();
    // Two such slots fit into the addresses of a process at most.
    let slots: Vec<_> = (0..3).map(|_| Slot::map(artifact.inner())).collect();
    let error = slots.into_iter().find_map(Result::err).unwrap();
    assert!(matches!(error, SlotError::AddressSpace { wanted, .. } if wanted == 1 << 46), "{error}");
    assert!(error.to_string().contains("70368744177664"));
}
