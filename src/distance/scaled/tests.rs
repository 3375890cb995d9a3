//! Tests of the kernels over codes that have scales.

use super::*;
use crate::distance::{Ask, read_code, scale_of, with_isa, write_code, write_form};
use crate::simd::Isa;
use rand::rngs::SmallRng;
use rand::{RngExt, SeedableRng};

/// Components and their row, whose lowest bits give some scale.
struct Row {
    numbers: Vec<i64>,
    blocks: Vec<Block>,
}

fn components(random: &mut SmallRng, count: usize, greatest: i32) -> Vec<f32> {
    (0..count).map(|_| random.random_range(-greatest..=greatest) as f32).collect()
}

fn dot(a: &[i64], b: &[i64]) -> f64 {
    a.iter().zip(b).map(|(a, b)| a * b).sum::<i64>() as f64
}

/// Returns the keys of a query and rows on all instruction sets, the same on each.
fn keys<K: Kernel<Element = Block>>(query: &[Block], rows: [&[Block]; 4]) -> [f32; 4] {
    let mut all = Isa::available().iter().map(|&isa| {
        let kernel = with_isa(K::default(), isa).expect("available");
        let found = Ask::of(query, rows).under(&*kernel);
        assert_eq!(found.keys, found.keys4, "{isa}");
        found.distances
    });
    let first = all.next().expect("the plain kernels");
    let bits = |distances: [f32; 4]| distances.map(f32::to_bits);
    assert!(all.all(|distances| bits(distances) == bits(first)));
    first
}

fn close(found: f32, expected: f64, scale: f64) {
    assert!((f64::from(found) - expected).abs() <= 2e-7 * scale, "{found} {expected}");
}

fn holds_every_kernel<W: Width>(
    greatest: i32,
    row_of: impl Fn(&[f32]) -> Vec<Block>,
    form_of: impl Fn(&[f32]) -> Vec<Block>,
    numbers: impl Fn(&[Block], usize) -> i64,
) {
    let mut random = SmallRng::seed_from_u64(3);
    for len in [128, 256, 384, 1024] {
        for _ in 0..8 {
            let rows: [Row; 4] = std::array::from_fn(|_| {
                let blocks = row_of(&components(&mut random, len, greatest));
                Row { numbers: (0..len).map(|at| numbers(&blocks, at)).collect(), blocks }
            });
            let scale = |row: &Row| f64::from(scale_of(W::PLACE.rung(&row.blocks)));
            let forms = [(); 2].map(|()| components(&mut random, len, greatest));
            let asked =
                forms.each_ref().map(|form| form.iter().map(|&x| x as i64).collect::<Vec<_>>());
            let [mut query, plain] = forms.each_ref().map(|form| form_of(form));
            query.extend(plain);
            let constants = [0.7, 5.0, 1.3, 9.0, 0.0, 0.0, 0.0, 0.0];
            query.push(bytemuck::cast::<[f64; 8], Block>(constants));
            let blocks = rows.each_ref().map(|row| &row.blocks[..]);

            let found = keys::<ScaledL2<W>>(&query, blocks);
            for (found, row) in found.into_iter().zip(&rows) {
                let is_plain = W::PLACE.is_plain(&row.blocks);
                let [ratio, square] = if is_plain { [1.3, 9.0] } else { [0.7, 5.0] };
                let own = scale(row);
                let norm = dot(&row.numbers, &row.numbers) - W::rounding(row.blocks.len());
                let product = dot(&asked[usize::from(is_plain)], &row.numbers);
                let expected = square + own * own * norm - 2.0 * ratio * own * product;
                close(found, expected, own * own * norm + square + product.abs() * own);
            }
            let found = keys::<ScaledDot<W>>(&query, blocks);
            for (found, row) in found.into_iter().zip(&rows) {
                let product = dot(&asked[0], &row.numbers);
                close(found, -0.7 * scale(row) * product, scale(row) * product.abs());
            }
            let found = keys::<ScaledBetweenDot<W>>(blocks[0], blocks);
            for (found, row) in found.into_iter().zip(&rows) {
                let product = dot(&rows[0].numbers, &row.numbers) * scale(row) * scale(&rows[0]);
                close(found, -product, product.abs());
            }
            let found = keys::<ScaledBetweenL2<W>>(blocks[0], blocks);
            for (found, row) in found.into_iter().zip(&rows) {
                let own = |row: &Row| {
                    let norm = dot(&row.numbers, &row.numbers) - W::rounding(row.blocks.len());
                    norm * scale(row).powi(2)
                };
                let product = dot(&rows[0].numbers, &row.numbers) * scale(row) * scale(&rows[0]);
                close(found, own(row) + own(&rows[0]) - 2.0 * product, own(row) + own(&rows[0]));
            }
        }
    }
}

fn bytes_of(components: &[f32]) -> Vec<Block> {
    let mut blocks = vec![Block::ZERO; components.len() / 64];
    let bytes: &mut [u8] = bytemuck::cast_slice_mut(&mut blocks);
    for (byte, &x) in bytes.iter_mut().zip(components) {
        *byte = x as i8 as u8;
    }
    blocks
}

#[test]
fn eight_bits_are_compared_in_their_scales() {
    let number = |row: &[Block], at| i64::from(cast_slice::<_, i8>(row)[at]);
    holds_every_kernel::<Eight>(127, bytes_of, bytes_of, number);
}

#[test]
fn twelve_bits_are_compared_in_their_scales() {
    let row = |components: &[f32]| {
        let mut code = vec![Block::ZERO; components.len() / 128 * TWELVE_BLOCKS];
        write_code(&mut code, components, |x| x as i32);
        code
    };
    let form = |components: &[f32]| {
        let mut form = vec![Block::ZERO; components.len() / 128 * TWELVE_QUERY_BLOCKS];
        write_form(&mut form, components, |x| x as i32);
        form
    };
    holds_every_kernel::<Twelve>(2047, row, form, |row, at| i64::from(read_code(row, at)));
}
