//! Reads hand-written types.

use super::*;
use proptest::prelude::*;

/// `struct outer { int a; union { struct { int b; inner_t c; }; }; }` with
/// `typedef struct inner { int d; int e:3; } inner_t`, written by hand.
fn example() -> Vec<u8> {
    let strings = b"\0int\0inner\0d\0e\0inner_t\0outer\0a\0b\0c\0";
    let at = |name: &str| {
        let needle = [b"\0", name.as_bytes(), b"\0"].concat();
        strings
            .windows(needle.len())
            .position(|w| w == needle)
            .unwrap() as u32
            + 1
    };
    let info = |kind: u32, members: u32, flag: u32| flag << 31 | kind << 24 | members;
    let words: Vec<u32> = [
        vec![at("int"), info(1, 0, 0), 4, 32], // 1
        vec![
            at("inner"),
            info(4, 2, 1),
            8,
            at("d"),
            1,
            0,
            at("e"),
            1,
            3 << 24 | 33,
        ], // 2
        vec![at("inner_t"), info(8, 0, 0), 2], // 3
        vec![0, info(4, 2, 0), 12, at("b"), 1, 0, at("c"), 3, 32], // 4
        vec![0, info(5, 1, 0), 12, 0, 4, 0],   // 5
        vec![at("outer"), info(4, 2, 0), 16, at("a"), 1, 0, 0, 5, 32], // 6
    ]
    .concat();
    let types: Vec<u8> = words.iter().flat_map(|word| word.to_le_bytes()).collect();
    let mut data = Vec::new();
    data.extend(MAGIC.to_le_bytes());
    data.extend([1, 0]);
    for word in [
        24,
        0,
        types.len() as u32,
        types.len() as u32,
        strings.len() as u32,
    ] {
        data.extend(word.to_le_bytes());
    }
    data.extend(types);
    data.extend(strings);
    data
}

#[test]
fn members_are_found_through_anonymous_structs_and_typedefs() {
    let btf = KernelBtf::parse(Source::Read(example()), ["outer"]).unwrap();
    assert_eq!(btf.member_offset("outer", "a"), Some(0));
    assert_eq!(btf.member_offset("outer", "b"), Some(4));
    assert_eq!(btf.member_offset("outer", "c.d"), Some(8));
    assert_eq!(btf.member_bit_offset("outer", "c.e"), Some(8 * 8 + 33));
    assert_eq!(btf.member_offset("outer", "c.e"), None, "a bit field");
    assert_eq!(btf.member_offset("outer", "x"), None);
    assert_eq!(btf.member_offset("outer", "in"), None, "a part of a name");
}

proptest! {
    #[test]
    fn damaged_btf_is_refused_or_read_and_never_panics(
        cut in 0usize..200, place in 0usize..200, byte in any::<u8>()
    ) {
        let mut data = example();
        let place = place % data.len();
        data[place] = byte;
        data.truncate(cut.min(data.len()));
        if let Some(btf) = KernelBtf::parse(Source::Read(data), ["outer"]) {
            let _ = btf.member_bit_offset("outer", "c.e");
            let _ = btf.function_arguments("outer");
        }
    }
}
