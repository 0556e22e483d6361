//! Go's `math/rand` (the generator of Go 1.20 and before), exactly: the FGD benchmark's workloads are defined by its draws.
//!
//! An additive lagged Fibonacci generator of length 607 and tap 273, seeded by a Lehmer generator (48271 modulo 2^31 - 1).

mod cooked;

use self::cooked::COOKED;

const LENGTH: usize = COOKED.len();
const TAP: usize = 273;
const INT32_MAX: i64 = (1 << 31) - 1;

/// The generator.
#[derive(Debug, Clone)]
pub struct GoRandom {
    state: Vec<u64>,
    tap: usize,
    feed: usize,
}

/// One step of the seeding generator, by Schrage's method as in the original.
fn lehmer(x: i64) -> i64 {
    (48_271 * x) % INT32_MAX
}

impl GoRandom {
    /// As `rand.Seed`.
    pub fn new(seed: i64) -> Self {
        let mut x = seed % INT32_MAX;
        if x < 0 {
            x += INT32_MAX;
        }
        if x == 0 {
            x = 89_482_311;
        }
        for _ in 0..20 {
            x = lehmer(x);
        }
        let state = COOKED
            .iter()
            .map(|cooked| {
                let mut word = 0u64;
                for shift in [40, 20, 0] {
                    x = lehmer(x);
                    word ^= (x as u64) << shift;
                }
                word ^ *cooked as u64
            })
            .collect();
        Self {
            state,
            tap: 0,
            feed: LENGTH - TAP,
        }
    }

    /// `Uint64`.
    pub fn uint64(&mut self) -> u64 {
        self.tap = self.tap.checked_sub(1).unwrap_or(LENGTH - 1);
        self.feed = self.feed.checked_sub(1).unwrap_or(LENGTH - 1);
        let add = self.state.get(self.tap).copied().unwrap_or_default();
        match self.state.get_mut(self.feed) {
            Some(word) => {
                *word = word.wrapping_add(add);
                *word
            }
            None => 0,
        }
    }

    /// `Int63`.
    pub fn int63(&mut self) -> i64 {
        (self.uint64() & (u64::MAX >> 1)) as i64
    }

    fn uint32(&mut self) -> u32 {
        (self.int63() >> 31) as u32
    }

    fn int31(&mut self) -> i64 {
        self.int63() >> 32
    }

    /// `Intn` for 0 < n < 2^31; zero for n = 0.
    pub fn below(&mut self, n: usize) -> usize {
        let n = n as i64;
        if n <= 1 {
            // The original draws for one, too.
            self.int31();
            return 0;
        }
        if n & (n - 1) == 0 {
            return (self.int31() & (n - 1)) as usize;
        }
        let max = INT32_MAX - (1i64 << 31) % n;
        let mut v = self.int31();
        while v > max {
            v = self.int31();
        }
        (v % n) as usize
    }

    /// `int31n`, the draw of `Shuffle`: Lemire's multiplication.
    fn lemire(&mut self, n: u32) -> usize {
        let mut product = u64::from(self.uint32()) * u64::from(n);
        if (product as u32) < n {
            let threshold = n.wrapping_neg() % n;
            while (product as u32) < threshold {
                product = u64::from(self.uint32()) * u64::from(n);
            }
        }
        (product >> 32) as usize
    }

    /// `Shuffle`.
    pub fn shuffle<T>(&mut self, items: &mut [T]) {
        for last in (1..items.len()).rev() {
            let other = self.lemire(last as u32 + 1);
            items.swap(last, other);
        }
    }

    /// `Perm`.
    pub fn permutation(&mut self, n: usize) -> Vec<usize> {
        let mut permutation: Vec<usize> = Vec::with_capacity(n);
        for i in 0..n {
            let j = self.below(i + 1);
            permutation.push(i);
            permutation.swap(i, j);
        }
        permutation
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_published_vectors() {
        let first = |seed| {
            let mut random = GoRandom::new(seed);
            [random.int63(), random.int63(), random.int63()]
        };
        assert_eq!(
            first(1),
            [
                5_577_006_791_947_779_410,
                8_674_665_223_082_153_551,
                6_129_484_611_666_145_821
            ]
        );
        assert_eq!(
            first(42),
            [
                3_440_579_354_231_278_675,
                608_747_136_543_856_411,
                5_571_782_338_101_878_760
            ]
        );
    }

    #[test]
    fn the_table_is_whole() {
        let sum = COOKED
            .iter()
            .fold(0u64, |sum, word| sum.wrapping_add(*word as u64));
        assert_eq!(sum, 7_853_633_167_222_747_795);
    }

    #[test]
    fn a_permutation_holds_everything_once() {
        let mut permutation = GoRandom::new(3).permutation(100);
        permutation.sort_unstable();
        assert_eq!(permutation, (0..100).collect::<Vec<_>>());
    }
}
