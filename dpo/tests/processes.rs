//! Several processes end with the bytes of one.

use crate::common;
use crate::ranks;

use std::fs;

use common::World;

#[test]
fn processes_end_with_the_bytes_of_one() {
    let world = World::new(40);
    for (name, flags, sizes) in [
        ("full", "--epochs 1 --eval-fraction 0.2 --checkpoint-steps 2 --keep-last 9", &[2, 4][..]),
        ("lora", "--epochs 1 --eval-fraction 0.2 --lora-rank 4 --lora-dropout 0.1 --dtype bf16 --live-reference", &[2]),
    ] {
        let alone = format!("{name}-1");
        assert_eq!(ranks::ended(world.spawn(&alone, flags)).0, Some(0));
        let expected = ranks::bytes(&world.path(&alone));
        for &size in sizes {
            let output = format!("{name}-{size}");
            ranks::succeed(&world.path("store"), size, |_| world.child(&output, flags));
            assert_eq!(ranks::bytes(&world.path(&output)), expected, "{name} on {size} processes");
        }
    }
    let cache = |run: &str| fs::read(world.path(run).join("reference/log_probs.safetensors")).unwrap();
    assert!(cache("full-1") == cache("full-4"), "the reference's log-probs differ");
}
