//! A fixed list of names, and which of them a text is.

use std::cmp::Reverse;
use std::fmt;

/// Seeds that are tried. One that fits is nearly always the first.
const SEEDS: u64 = 8;

/// Most names in a bucket; four are expected.
const BUCKET: usize = 16;

/// Odd, and without pattern: 2^64 divided by the golden ratio (D. Knuth, 1998, volume 3, 6.4).
const GOLDEN: u64 = 0x9e37_79b9_7f4a_7c15;

/// No name.
const FREE: u16 = u16::MAX;

/// Which name of a list a text is, by a perfect hash that is found when the list is made: every
/// text has one place, and no text is compared with more than one name, whoever chose them.
///
/// The hash takes eight bytes at a time, no more of them than it needs, and keeps no secrets. Names for which no seed is found in
/// bounded time are looked up by binary search. The names stay where they are: each look-up is
/// given the way to them. The same names make the same `Names`.
#[derive(Clone, PartialEq, Eq)]
pub(super) enum Names {
    Hashed {
        recipe: Recipe,
        // by the low bits of the hash, a power of two of them: what tells those names apart
        shifts: Box<[u16]>,
        // index of the name at each place or FREE; 2^bits of them, bits from 1 to 16
        places: Box<[u16]>,
        bits: u32,
    },
    /// Indices in the order of the names.
    Sorted(Box<[u16]>),
}

impl Names {
    /// Of the first 2^16 - 1 of `names`. Of names that are equal, any one is found.
    pub(super) fn new<'n>(names: impl IntoIterator<Item = &'n str>) -> Self {
        let names: Vec<&[u8]> =
            names.into_iter().map(str::as_bytes).take(usize::from(FREE)).collect();
        let seeds = || (1..=SEEDS).map(|seed| seed.wrapping_mul(GOLDEN));
        let ends = seeds().map(|seed| Recipe { seed, whole: false });
        let whole = seeds().map(|seed| Recipe { seed, whole: true });
        ends.chain(whole)
            .find_map(|recipe| Self::hashed(&names, recipe))
            .unwrap_or_else(|| Self::sorted(&names))
    }

    /// The largest buckets choose first how far to shift their names to free places, as in
    /// F. Botelho, R. Pagh and N. Ziviani, 2007, <https://doi.org/10.1007/978-3-540-73951-7_13>.
    fn hashed(names: &[&[u8]], recipe: Recipe) -> Option<Self> {
        let mut buckets = vec![Vec::new(); (names.len() / 4).next_power_of_two()];
        for (index, name) in (0..FREE).zip(names) {
            let hash = recipe.hash(name);
            let bucket = low_bits(hash, buckets.len());
            buckets[bucket].push((index, hash));
        }
        let mut order: Vec<usize> = (0..buckets.len()).collect();
        order.sort_by_key(|bucket| Reverse(buckets[*bucket].len()));

        let bits = (2 * names.len()).max(2).next_power_of_two().ilog2();
        let mut places: Box<[u16]> = vec![FREE; 1 << bits].into();
        let mut shifts: Box<[u16]> = vec![0; buckets.len()].into();
        // A bucket needs three or so; names that were made to collide end here.
        let mut tries = 4 * names.len() + 4_096;
        let mut taken = Vec::with_capacity(BUCKET);
        for bucket in order {
            let members = &buckets[bucket];
            if members.len() > BUCKET {
                return None;
            }
            shifts[bucket] = (0..=u16::MAX).take(tries).find(|shift| {
                tries -= 1;
                taken.clear();
                members.iter().all(|(_, hash)| {
                    let place = place(*hash, *shift, bits);
                    let free = places[place] == FREE && !taken.contains(&place);
                    taken.push(place);
                    free
                })
            })?;
            for ((index, _), place) in members.iter().zip(&taken) {
                places[*place] = *index;
            }
        }
        Some(Self::Hashed { recipe, shifts, places, bits })
    }

    fn sorted(names: &[&[u8]]) -> Self {
        let mut sorted: Box<[u16]> = (0..FREE).take(names.len()).collect();
        sorted.sort_by_key(|index| names[usize::from(*index)]);
        Self::Sorted(sorted)
    }

    /// The index of the name that `text` is; `name` gives the one at an index.
    pub(super) fn find<'n>(&self, text: &[u8], name: impl Fn(usize) -> &'n str) -> Option<usize> {
        let name = |index: u16| name(usize::from(index)).as_bytes();
        match self {
            Self::Hashed { recipe, shifts, places, bits } => {
                let hash = recipe.hash(text);
                let shift = shifts[low_bits(hash, shifts.len())];
                let index = places[place(hash, shift, *bits)];
                (index != FREE && same(name(index), text)).then(|| usize::from(index))
            }
            Self::Sorted(sorted) => search(sorted, text, name),
        }
    }
}

#[cold]
fn search<'n>(sorted: &[u16], text: &[u8], name: impl Fn(u16) -> &'n [u8]) -> Option<usize> {
    let at = sorted.binary_search_by(|index| name(*index).cmp(text)).ok()?;
    Some(usize::from(sorted[at]))
}

/// Says only how the names are found: they stand beside it.
impl fmt::Debug for Names {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Hashed { .. } => "Hashed",
            Self::Sorted(_) => "Sorted",
        })
    }
}

/// `hash` modulo `count`, a power of two.
fn low_bits(hash: u64, count: usize) -> usize {
    usize::try_from(hash & (count as u64 - 1)).unwrap_or_default()
}

fn place(hash: u64, shift: u16, bits: u32) -> usize {
    let moved = (hash ^ u64::from(shift)).wrapping_mul(GOLDEN);
    usize::try_from(moved >> (u64::BITS - bits)).unwrap_or_default()
}

/// How a text is hashed.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) struct Recipe {
    seed: u64,
    // every byte, rather than the length and eight bytes at either end
    whole: bool,
}

impl Recipe {
    /// No multiplication waits for another, so that all are made at once.
    fn hash(self, text: &[u8]) -> u64 {
        let (first, last) = ends(text);
        let key = self.seed.wrapping_add(GOLDEN);
        let sum = folded(self.seed ^ first).wrapping_add(folded(key ^ last));
        let hash = sum.wrapping_add(text.len() as u64);
        if self.whole && text.len() > 16 { hash.wrapping_add(middle(key, text)) } else { hash }
    }
}

/// What lies between the ends of a text of more than 16 bytes.
#[inline(never)]
fn middle(mut key: u64, text: &[u8]) -> u64 {
    text[8..].as_chunks().0.iter().fold(0, |hash: u64, word| {
        key = key.wrapping_add(GOLDEN);
        hash.wrapping_add(folded(key ^ u64::from_le_bytes(*word)))
    })
}

/// The first and the last eight bytes; of fewer than eight, all in one number.
fn ends(text: &[u8]) -> (u64, u64) {
    match (text.first_chunk(), text.last_chunk()) {
        (Some(first), Some(last)) => (u64::from_le_bytes(*first), u64::from_le_bytes(*last)),
        _ => (short(text), 0),
    }
}

/// Whether the texts are the same; mostly without a call, as most are short.
fn same(a: &[u8], b: &[u8]) -> bool {
    a.len() == b.len()
        && ends(a) == ends(b)
        && (a.len() <= 16 || a[8..a.len() - 8] == b[8..b.len() - 8])
}

/// Up to seven bytes in one number, another for other bytes of as many.
fn short(text: &[u8]) -> u64 {
    match (text.first_chunk(), text.last_chunk(), text) {
        (Some(first), Some(last), _) => {
            u64::from(u32::from_le_bytes(*first)) | u64::from(u32::from_le_bytes(*last)) << 32
        }
        (_, _, [first, .., last]) => {
            let middle = text[text.len() / 2];
            u64::from(*first) | u64::from(middle) << 8 | u64::from(*last) << 16
        }
        (_, _, [only]) => u64::from(*only),
        (_, _, []) => 0,
    }
}

#[expect(clippy::cast_possible_truncation, reason = "both halves are taken")]
fn folded(x: u64) -> u64 {
    let product = u128::from(x) * u128::from(GOLDEN);
    product as u64 ^ (product >> 64) as u64
}

#[cfg(test)]
mod tests {
    use super::*;

    fn find(names: &Names, list: &[String], text: &str) -> Option<usize> {
        names.find(text.as_bytes(), |index| &list[index])
    }

    /// Every name is found, and nothing else.
    fn check(names: &Names, list: &[String]) {
        for (index, name) in list.iter().enumerate() {
            assert_eq!(find(names, list, name), Some(index), "{name}");
            for other in [format!("{name} "), format!("\0{name}"), name[1..].to_owned()] {
                assert_eq!(find(names, list, &other).is_some(), list.contains(&other), "{other}");
            }
        }
        for other in ["", "x", "0123456", "01234567", "012345678", &"y".repeat(1_000_000)] {
            assert_eq!(find(names, list, other).is_some(), list.contains(&other.to_owned()));
        }
    }

    fn of(list: &[String]) -> Names {
        Names::new(list.iter().map(String::as_str))
    }

    #[test]
    fn every_name_of_any_list_is_found_and_nothing_else() {
        for count in (0..70).chain([253]) {
            for width in [1, 3, 7, 8, 9, 16, 40, 256] {
                let list: Vec<String> = (0..count)
                    .map(|n| format!("{n:0width$}"))
                    .map(|name| format!("a{name}"))
                    .collect();
                let names = of(&list);
                assert!(matches!(names, Names::Hashed { .. }), "{count} of width {width}");
                check(&names, &list);
                assert_eq!(names, of(&list));
            }
        }
    }

    #[test]
    fn ten_thousand_names_that_differ_in_one_byte_are_told_apart() {
        for at in [0, 1, 7, 8, 100, 250] {
            let rest = "x".repeat(250 - at);
            let list: Vec<String> =
                (0..10_000).map(|n| format!("{}{n:04}{rest}", "x".repeat(at))).collect();
            let names = of(&list);
            assert!(matches!(names, Names::Hashed { .. }));
            let found =
                list.iter().enumerate().all(|(n, name)| find(&names, &list, name) == Some(n));
            assert!(found);
            assert_eq!(find(&names, &list, &format!("{}10000{rest}", "x".repeat(at))), None);
        }
    }

    #[test]
    fn a_text_that_differs_in_one_byte_anywhere_is_another() {
        for length in 1..40 {
            let name = "x".repeat(length);
            let list = [name.clone(), "another".to_owned()];
            for whole in [false, true] {
                let bytes: Vec<&[u8]> = list.iter().map(|name| name.as_bytes()).collect();
                let recipe = Recipe { seed: GOLDEN, whole };
                let names = Names::hashed(&bytes, recipe).unwrap();
                assert_eq!(find(&names, &list, &name), Some(0));
                for at in 0..length {
                    let mut other = name.clone();
                    other.replace_range(at..=at, "y");
                    assert_eq!(find(&names, &list, &other), None, "{other}");
                }
            }
        }
    }

    #[test]
    fn names_that_no_seed_tells_apart_are_searched() {
        let list: Vec<String> = ["b", "a", "c", "b"].map(str::to_owned).into();
        let twice = of(&list);
        assert!(matches!(twice, Names::Sorted(_)));
        assert!(matches!(find(&twice, &list, "b"), Some(0 | 3)));
        for count in [0, 1, 2, 3, 253] {
            let list: Vec<String> = (0..count).map(|n| format!("level {n}")).collect();
            let bytes: Vec<&[u8]> = list.iter().map(|name| name.as_bytes()).collect();
            check(&Names::sorted(&bytes), &list);
        }
    }

    #[test]
    fn names_in_one_bucket_end_the_search() {
        // The low bits of all their hashes are zero.
        let recipe = Recipe { seed: GOLDEN, whole: false };
        let colliding: Vec<String> = (0..)
            .map(|n: u32| n.to_string())
            .filter(|name| recipe.hash(name.as_bytes()) & 63 == 0)
            .take(200)
            .collect();
        let bytes: Vec<&[u8]> = colliding.iter().map(|name| name.as_bytes()).collect();
        assert_eq!(Names::hashed(&bytes, recipe), None);
        check(&of(&colliding), &colliding);
    }
}
