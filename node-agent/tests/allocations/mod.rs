//! A steady node is sampled without allocating.

#![expect(
    unsafe_code,
    reason = "an allocator that counts: it forwards every call to the system's, unchanged"
)]

use std::{
    alloc::{GlobalAlloc, Layout as Block, System},
    cell::Cell,
    collections::BTreeSet,
};

use katalyst_core::qos::Level;
use katalyst_node_agent::{
    cgroup::discover,
    sample::{Descriptors, MachineUsage, Sampler, Usage},
};

use crate::node::{Layout, MIB, Node};

thread_local! {
    static ALLOCATIONS: Cell<u64> = const { Cell::new(0) };
}

struct Counting;

// SAFETY: every call goes to the system's allocator as it came; counting touches a plain thread-local cell that needs no destructor.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, block: Block) -> *mut u8 {
        ALLOCATIONS.set(ALLOCATIONS.get() + 1);
        // SAFETY: the caller's promise, passed on.
        unsafe { System.alloc(block) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, block: Block) {
        // SAFETY: the caller's promise, passed on.
        unsafe { System.dealloc(pointer, block) }
    }

    unsafe fn realloc(&self, pointer: *mut u8, block: Block, size: usize) -> *mut u8 {
        ALLOCATIONS.set(ALLOCATIONS.get() + 1);
        // SAFETY: the caller's promise, passed on.
        unsafe { System.realloc(pointer, block, size) }
    }
}

#[global_allocator]
static COUNTING: Counting = Counting;

#[test]
fn the_allocator_counts() {
    let before = ALLOCATIONS.get();
    drop(std::hint::black_box(Box::new(7_u64)));
    assert_eq!(ALLOCATIONS.get() - before, 1);
}

#[test]
fn a_sample_of_a_steady_node_allocates_nothing() {
    for layout in Layout::ALL {
        let mut node = Node::new(layout);
        for pod in 0..20 {
            node.pod(&format!("batch-{pod}"), Level::Reclaimed, 100, MIB);
            node.service(&format!("service-{pod}"));
        }
        let hierarchy = node.hierarchy();
        let kubepods = discover(&hierarchy, &BTreeSet::new(), None).unwrap();
        let mut sampler = Sampler::new(node.root().to_owned(), Descriptors::new(1_000), || 0);
        let mut usage = Usage::default();
        // Long enough for what is read every ten seconds, and for the backstop of the listing.
        for second in 0..40_u64 {
            node.run(1_000, &[("batch-1", 500), ("service-1", 700)]);
            let before = ALLOCATIONS.get();
            sampler
                .sample(second * 1_000_000_000, &hierarchy, &kubepods, |error| {
                    panic!("{error}")
                })
                .unwrap();
            let both = sampler.usage(&mut usage);
            assert!(sampler.glance(MachineUsage::Proc, &[]).is_some());
            let allocations = ALLOCATIONS.get() - before;
            assert_eq!(both, second > 0);
            assert_eq!(usage.pods.len(), if both { 40 } else { 0 });
            // The first two readings fill their places, and every half minute the directories are listed all the same.
            if second > 2 && second % 30 != 0 {
                assert_eq!(allocations, 0, "{layout:?}, second {second}");
            }
        }
    }
}
