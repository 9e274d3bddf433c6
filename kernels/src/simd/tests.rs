use super::*;

/// Splitting and joining, masked loads and stores, of every vector that is here.
struct Moves;

impl Kernel for Moves {
    type Out = ();
    #[inline(always)]
    unsafe fn run<V: Vector>(self) {
        let from: Vec<f32> = (0..64).map(|i| i as f32).collect();
        let mut back = [0.0f32; 64];
        let mut lanes = [0.0f32; 16];
        let l = V::LANES;
        // SAFETY: 64 numbers hold the widest vectors.
        unsafe {
            for (j, v) in V::deinterleave(from.as_ptr()).into_iter().enumerate() {
                v.store(lanes.as_mut_ptr());
                (0..l).for_each(|i| assert_eq!(lanes[i], (2 * i + j) as f32, "{} deinterleave", V::ISA));
            }
            back.fill(-1.0);
            V::interleave(V::deinterleave(from.as_ptr()), back.as_mut_ptr());
            assert_eq!(from[..2 * l], back[..2 * l]);
            let mut transposed = [0.0f32; 256];
            let square: Vec<f32> = (0..256).map(|i| i as f32).collect();
            V::transpose(square.as_ptr(), l, transposed.as_mut_ptr(), l);
            for i in 0..l * l {
                assert_eq!(transposed[i % l * l + i / l], square[i], "{} transpose", V::ISA);
            }
            for n in 0..=l {
                back.fill(-1.0);
                V::load_first(from.as_ptr().add(1), n).store(back.as_mut_ptr());
                (0..l).for_each(|i| assert_eq!(back[i], if i < n { (i + 1) as f32 } else { 0.0 }));
                back.fill(-1.0);
                V::load(from.as_ptr()).store_first(back.as_mut_ptr(), n);
                (0..l).for_each(|i| assert_eq!(back[i], if i < n { i as f32 } else { -1.0 }));
                V::select(V::mask_first(n), V::splat(1.0), V::splat(0.0)).store(back.as_mut_ptr());
                (0..l).for_each(|i| assert_eq!(back[i], if i < n { 1.0 } else { 0.0 }));
                let mut whole = [77; 16];
                V::load(from.as_ptr()).store_first_whole(whole.as_mut_ptr(), n);
                (0..l).for_each(|i| assert_eq!(whole[i], if i < n { i as u32 } else { 77 }));
            }
            assert_eq!(V::load(from.as_ptr()).sum(), (l * (l - 1) / 2) as f32);
            // Comparisons in the first lane; NaN is greater than nothing, and counts as the largest in the second.
            for (x, y, greater, or_nan) in
                [(1.0, 0.0, 1.0, 1.0), (0.0, 0.0, 0.0, 0.0), (f32::NAN, 0.0, 0.0, 1.0), (0.0, f32::NAN, 0.0, 0.0)]
            {
                let (x, y, yes, no) = (V::splat(x), V::splat(y), V::splat(1.0), V::splat(0.0));
                V::select(x.gt(y), yes, no).store(lanes.as_mut_ptr());
                assert_eq!(lanes[0], greater, "{} gt", V::ISA);
                V::select(x.gt_or_nan(y), yes, no).store(lanes.as_mut_ptr());
                assert_eq!(lanes[0], or_nan, "{} gt_or_nan", V::ISA);
            }
        }
    }
}

#[test]
fn matrices_are_turned_at_odd_sizes() {
    for [rows, columns] in [[1, 1], [16, 16], [17, 35], [3, 40], [33, 5], [8, 21], [29, 18]] {
        let from: Vec<f32> = (0..rows * (columns + 3)).map(|i| i as f32).collect();
        let mut to = vec![-1.0; columns * (rows + 2)];
        transpose(&from, columns + 3, [rows, columns], &mut to, rows + 2);
        for (k, v) in to.iter().enumerate() {
            let (j, i) = (k / (rows + 2), k % (rows + 2));
            assert_eq!(*v, if i < rows { from[i * (columns + 3) + j] } else { -1.0 });
        }
    }
}

#[test]
fn vectors_split_join_and_mask() {
    fn check<V: Vector>() {
        if here::<V>() {
            // SAFETY: the instructions are here, and Moves holds no pointers.
            unsafe { V::run(Moves) }
        }
    }
    check::<Portable>();
    #[cfg(target_arch = "x86_64")]
    {
        check::<Avx2>();
        check::<Avx512>();
    }
    #[cfg(target_arch = "aarch64")]
    check::<Neon>();
}
