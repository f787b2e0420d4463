//! Which vector instructions of the host CPU the lanes run on.

/// A level of the host's instruction set. All levels give the same bits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Isa {
    /// What every CPU of the architecture has.
    Baseline,
    /// AVX2, FMA and F16C.
    Avx2,
    /// AVX-512 F, BW, DQ and VL as well.
    Avx512,
}

impl Isa {
    /// The highest level that this CPU has, or the lower one that the environment variable `CUDA_EMULATOR_ISA` (`baseline`,
    /// `avx2`, `avx512`) asks for.
    pub fn detect() -> Isa {
        let best = Self::best();
        match std::env::var("CUDA_EMULATOR_ISA").as_deref() {
            Ok("baseline") => Isa::Baseline,
            Ok("avx2") => best.min(Isa::Avx2),
            _ => best,
        }
    }

    #[cfg(target_arch = "x86_64")]
    fn best() -> Isa {
        let avx2 = is_x86_feature_detected!("avx2")
            && is_x86_feature_detected!("fma")
            && is_x86_feature_detected!("f16c");
        let avx512 = is_x86_feature_detected!("avx512f")
            && is_x86_feature_detected!("avx512bw")
            && is_x86_feature_detected!("avx512dq")
            && is_x86_feature_detected!("avx512vl");
        match (avx2, avx512) {
            (true, true) => Isa::Avx512,
            (true, false) => Isa::Avx2,
            _ => Isa::Baseline,
        }
    }

    #[cfg(not(target_arch = "x86_64"))]
    fn best() -> Isa {
        Isa::Baseline
    }
}

/// Defines `$pick`, which gives the version of a generic handler for an [`Isa`]. The body is an `#[inline(always)]` function with the same
/// generics and parameters; each version compiles it with other instructions.
macro_rules! versions {
    ($(#[$doc:meta])* $vis:vis fn $pick:ident<$($g:ident: $bound:path),*>($($x:ident: $t:ty),*) -> $ret:ty as $handler:ty = $body:ident) => {
        $(#[$doc])*
        $vis fn $pick<$($g: $bound),*>(isa: crate::isa::Isa) -> $handler {
            fn baseline<$($g: $bound),*>($($x: $t),*) -> $ret {
                $body::<$($g),*>($($x),*)
            }
            #[cfg(target_arch = "x86_64")]
            #[target_feature(enable = "avx2,fma,f16c")]
            fn avx2<$($g: $bound),*>($($x: $t),*) -> $ret {
                $body::<$($g),*>($($x),*)
            }
            #[cfg(target_arch = "x86_64")]
            #[target_feature(enable = "avx2,fma,f16c,avx512f,avx512bw,avx512dq,avx512vl")]
            fn avx512<$($g: $bound),*>($($x: $t),*) -> $ret {
                $body::<$($g),*>($($x),*)
            }
            match isa {
                #[cfg(target_arch = "x86_64")]
                crate::isa::Isa::Avx512 => avx512::<$($g),*>,
                #[cfg(target_arch = "x86_64")]
                crate::isa::Isa::Avx2 => avx2::<$($g),*>,
                _ => baseline::<$($g),*>,
            }
        }
    };
}
pub(crate) use versions;
