//! Sixty-four rows through all trees side by side: with AVX-512 where the processor has it, else in plain code. Both
//! give the same sums.

use super::bins::{Bins, Places};
use super::symmetric::{DEPTH, Tree};
use crate::features::{FEATURE_COUNT, Row};

/// Rows that are scored side by side.
pub(super) const LANES: usize = 64;

/// The bins of as many rows, feature by feature.
type Columns = [[u8; LANES]; FEATURE_COUNT];

/// Appends the sum of every row: `base` and one leaf a tree.
pub(super) fn sums(bins: &Bins, trees: &[Tree], base: i32, rows: &[Row], out: &mut Vec<i32>) {
    #[cfg(target_arch = "x86_64")]
    if let Some(simd) = pulp::x86::V4::try_new() {
        return rows.chunks(LANES).for_each(|few| {
            let sums = wide::sums(simd, bins, trees, base, few);
            out.extend_from_slice(&sums[..few.len()]);
        });
    }
    plainly(bins, trees, base, rows, out);
}

fn plainly(bins: &Bins, trees: &[Tree], base: i32, rows: &[Row], out: &mut Vec<i32>) {
    for few in rows.chunks(LANES) {
        let columns = columns_of(bins, few);
        let mut sums = [base; LANES];
        for tree in trees {
            for (sum, leaf) in sums.iter_mut().zip(leaves_of(tree, &columns)) {
                // Within an i32: `Symmetric::new` saw to it.
                *sum = sum.wrapping_add(tree.leaves[usize::from(leaf) % LANES]);
            }
        }
        out.extend_from_slice(&sums[..few.len()]);
    }
}

/// Inlined into the code for either kind of processor.
#[inline(always)]
#[allow(clippy::inline_always, reason = "else it is compiled without AVX-512")]
fn columns_of(bins: &Bins, rows: &[Row]) -> Columns {
    let mut columns = [[0_u8; LANES]; FEATURE_COUNT];
    for (lane, row) in rows.iter().enumerate().take(LANES) {
        let places: Places = bins.places(row);
        for (column, place) in columns.iter_mut().zip(places) {
            column[lane] = bins.at(place);
        }
    }
    columns
}

/// The leaf of every lane.
#[inline]
fn leaves_of(tree: &Tree, columns: &Columns) -> [u8; LANES] {
    let mut leaves = [0; LANES];
    for level in 0..DEPTH {
        let (column, bin) = (&columns[usize::from(tree.features[level])], tree.bins[level]);
        for (leaf, value) in leaves.iter_mut().zip(column) {
            *leaf |= u8::from(*value > bin) << level;
        }
    }
    leaves
}

#[cfg(target_arch = "x86_64")]
mod wide {
    //! The same with AVX-512: a level is one comparison, and 16 leaves are picked by two permutations of registers.

    use super::{Columns, LANES, columns_of};
    use crate::features::Row;
    use crate::trees::bins::Bins;
    use crate::trees::symmetric::{DEPTH, Tree};
    use pulp::cast;
    use pulp::x86::V4;
    use std::arch::x86_64::{__m128i, __m512i};

    /// Sums of 16 lanes.
    type Quarters = [__m512i; 4];

    pub(super) fn sums(simd: V4, bins: &Bins, trees: &[Tree], base: i32, rows: &[Row]) -> [i32; LANES] {
        simd.vectorize(
            #[inline(always)]
            || {
                let columns = columns_of(bins, rows);
                let mut sums = [simd.avx512f._mm512_set1_epi32(base); 4];
                for tree in trees {
                    add_leaves(simd, tree, &columns, &mut sums);
                }
                cast::<Quarters, [i32; LANES]>(sums)
            },
        )
    }

    #[inline(always)]
    #[allow(clippy::inline_always, reason = "else it is compiled without AVX-512")]
    fn add_leaves(simd: V4, tree: &Tree, columns: &Columns, sums: &mut Quarters) {
        let (f, bw) = (simd.avx512f, simd.avx512bw);
        let mut leaves = f._mm512_setzero_si512();
        let mut is_upper = 0;
        for level in 0..DEPTH {
            let column: __m512i = cast(columns[usize::from(tree.features[level])]);
            let bin = f._mm512_set1_epi8(tree.bins[level].cast_signed());
            is_upper = bw._mm512_cmpgt_epu8_mask(column, bin);
            let bit = bw._mm512_maskz_mov_epi8(is_upper, f._mm512_set1_epi8(1 << level));
            leaves = f._mm512_or_si512(leaves, bit);
        }
        let table: Quarters = cast(tree.leaves);
        let leaves: [__m128i; 4] = cast(leaves);
        let [first, second, third, fourth]: [u16; 4] = cast(is_upper);
        for ((sum, leaves), is_upper) in sums.iter_mut().zip(leaves).zip([first, second, third, fourth]) {
            let at = f._mm512_cvtepu8_epi32(leaves);
            // The lower five bits of a leaf pick among 32; its highest says of which half.
            let lower = f._mm512_permutex2var_epi32(table[0], at, table[1]);
            let upper = f._mm512_permutex2var_epi32(table[2], at, table[3]);
            let picked = f._mm512_mask_blend_epi32(is_upper, lower, upper);
            *sum = f._mm512_add_epi32(*sum, picked);
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests fail by panicking")]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn tree() -> impl Strategy<Value = Tree> {
        let features = prop::array::uniform6(0..u8::try_from(FEATURE_COUNT).unwrap());
        (features, prop::array::uniform6(any::<u8>()), any::<u64>()).prop_map(|(features, bins, seed)| Tree {
            features,
            bins,
            leaves: core::array::from_fn(|leaf| {
                let mixed = (seed ^ u64::try_from(leaf).unwrap()).wrapping_mul(0x9e37_79b9_7f4a_7c15);
                i32::try_from(mixed >> 40).unwrap() - (1 << 23)
            }),
        })
    }

    proptest! {
        #[test]
        fn every_kind_of_processor_gives_the_same_sums(
            trees in prop::collection::vec(tree(), 0..20),
            rows in prop::collection::vec(prop::collection::vec(-40_000..40_000, FEATURE_COUNT), 1..150),
            base in -1000..1000,
        ) {
            let rows: Vec<Row> = rows.into_iter().map(|row| Row(row.try_into().unwrap())).collect();
            let bins = Bins::of(&rows, &vec![false; rows.len()], 200);
            let (mut fast, mut plain) = (Vec::new(), Vec::new());
            sums(&bins, &trees, base, &rows, &mut fast);
            plainly(&bins, &trees, base, &rows, &mut plain);
            prop_assert_eq!(fast, plain);
        }
    }
}
