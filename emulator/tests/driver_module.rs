//! Modules: PTX text, fat binaries, files, what is wrong with them, and what they hold.

mod driver;

use cudarc::driver::sys::{self, CUjit_option};
use driver::{DEFAULT, KERNELS, context, device, fresh, get, gives, host, kernel, launch, load, ok};
use std::{
    ffi::{CString, c_void},
    ptr::null_mut,
};

/// Fat binaries of one kernel that stores `__CUDA_ARCH__`, with PTX for sm_75, sm_80 and sm_90a and machine code for sm_80, in the
/// compressions of `nvcc -fatbin -compress-mode=...`: zstd, zstd of all, LZ4, none.
const FATBINS: [(&str, &[u8]); 4] = [
    ("default", include_bytes!("fatbin/which.default.fatbin")),
    ("size", include_bytes!("fatbin/which.size.fatbin")),
    ("speed", include_bytes!("fatbin/which.speed.fatbin")),
    ("none", include_bytes!("fatbin/which.none.fatbin")),
];
/// Machine code only.
const NO_PTX: &[u8] = include_bytes!("fatbin/which.elf.fatbin");

/// What loading an image gives.
fn loads(image: &[u8]) -> sys::CUresult {
    let mut module = null_mut();
    // SAFETY: the pointer for the result is to a local; the driver does not believe what images say of their length.
    unsafe { sys::cuModuleLoadData(&mut module, image.as_ptr().cast()) }
}

/// A copy of an image that ends where memory ends: a read past it would be a fault.
fn at_the_end_of_memory(image: &[u8]) -> &'static [u8] {
    const PAGE: usize = 1 << 16;
    let len = image.len().next_multiple_of(PAGE);
    let (access, kind) = (libc::PROT_READ | libc::PROT_WRITE, libc::MAP_PRIVATE | libc::MAP_ANONYMOUS);
    // SAFETY: the mapping is new, has room for the image and stays for good; what stands behind the image is given up.
    unsafe {
        let base = libc::mmap(null_mut(), len + PAGE, access, kind, -1, 0);
        assert_ne!(base, libc::MAP_FAILED);
        assert_eq!(libc::mprotect(base.add(len), PAGE, libc::PROT_NONE), 0);
        let at = base.add(len - image.len()).cast::<u8>();
        at.copy_from_nonoverlapping(image.as_ptr(), image.len());
        std::slice::from_raw_parts(at, image.len())
    }
}

/// The image is refused because memory ends before it does.
#[track_caller]
fn ends_too_early(image: &[u8]) {
    gives(loads(at_the_end_of_memory(image)), 200);
    assert!(driver::last_error().contains("memory ends"), "{}", driver::last_error());
}

fn text(ptx: &str) -> sys::CUresult {
    loads(CString::new(ptx).expect("PTX has no zero").as_bytes_with_nul())
}

#[test]
fn a_fat_binary_gives_the_newest_ptx_that_the_device_runs() {
    for (arch, which) in [(75, 750), (80, 800), (86, 800), (90, 900), (120, 800)] {
        let _turn = fresh(&format!("{{\"arch\": {arch}}}"));
        context();
        for (mode, image) in FATBINS {
            // SAFETY: the image says how long it is.
            let module: sys::CUmodule =
                unsafe { get(|p| sys::cuModuleLoadFatBinary(p, image.as_ptr().cast())) };
            let x = device(&[0]);
            ok(launch(kernel(module, "which"), 1, 1, DEFAULT, &[x]));
            assert_eq!(host(x, 1), [which], "arch {arch}, compression {mode}");
        }
    }
}

#[test]
fn the_structure_that_refers_to_a_fat_binary_is_followed() {
    let _turn = fresh("{}");
    context();
    let image = FATBINS[0].1;
    let wrapper: [u64; 3] = [0x1_4662_43B1, image.as_ptr() as u64, 0];
    gives(loads(bytemuck::bytes_of(&wrapper)), 0);
    let nothing: [u64; 3] = [0x1_4662_43B1, 0, 0];
    gives(loads(bytemuck::bytes_of(&nothing)), 200);
}

#[test]
fn machine_code_alone_does_not_run_here() {
    let _turn = fresh("{}");
    context();
    gives(loads(NO_PTX), 209);
    gives(loads(b"\x7fELF\0"), 209);
    assert!(driver::last_error().contains("machine code"), "{}", driver::last_error());
}

#[test]
fn broken_fat_binaries_are_refused() {
    let _turn = fresh("{}");
    context();
    let mut image = FATBINS[0].1.to_vec();
    // The first entry claims to be longer than the container.
    image[24..32].copy_from_slice(&u64::MAX.to_le_bytes());
    gives(loads(&image), 200);
    let mut image = FATBINS[0].1.to_vec();
    // The container claims to be longer than any can be.
    image[8..16].copy_from_slice(&u64::MAX.to_le_bytes());
    gives(loads(&image), 200);
}

#[test]
fn a_length_that_runs_past_the_end_of_memory_is_refused() {
    let _turn = fresh("{}");
    context();
    for (mode, image) in FATBINS {
        let module = loads(at_the_end_of_memory(image));
        assert_eq!(module as u32, 0, "compression {mode}: {}", driver::last_error());
        let len = u64::from_le_bytes(image[8..16].try_into().expect("eight bytes"));
        for more in [1, 4096, 1 << 16, 1 << 31] {
            let mut lying = image.to_vec();
            lying[8..16].copy_from_slice(&(len + more).to_le_bytes());
            ends_too_early(&lying);
            // The first entry goes as far.
            let payload = u64::from_le_bytes(image[24..32].try_into().expect("eight bytes"));
            lying[24..32].copy_from_slice(&(payload + more).to_le_bytes());
            ends_too_early(&lying);
        }
        (0..image.len()).step_by(31).for_each(|n| ends_too_early(&image[..n]));
    }
}

#[test]
fn every_call_that_loads_an_image_doubts_its_length() {
    let _turn = fresh("{}");
    context();
    let image = at_the_end_of_memory(&FATBINS[0].1[..FATBINS[0].1.len() - 1]).as_ptr().cast();
    let (module, library) = (&mut null_mut(), &mut null_mut());
    let (none, nothing) = (null_mut(), null_mut());
    // SAFETY: the pointers for the results are to locals, the lists are empty.
    unsafe {
        gives(sys::cuModuleLoadData(module, image), 200);
        gives(sys::cuModuleLoadDataEx(module, image, 0, null_mut(), null_mut()), 200);
        gives(sys::cuModuleLoadFatBinary(module, image), 200);
        gives(sys::cuLibraryLoadData(library, image, none, nothing, 0, null_mut(), null_mut(), 0), 200);
    }
}

#[test]
fn the_structure_that_refers_to_a_fat_binary_ends_with_its_address() {
    let _turn = fresh("{}");
    context();
    let refers = |to: &[u8]| [0x1_4662_43B1, to.as_ptr() as u64];
    let whole = refers(at_the_end_of_memory(FATBINS[0].1));
    gives(loads(at_the_end_of_memory(bytemuck::bytes_of(&whole))), 0);
    (0..16).for_each(|n| ends_too_early(&bytemuck::bytes_of(&whole)[..n]));
    ends_too_early(bytemuck::bytes_of(&refers(at_the_end_of_memory(&[]))));
    ends_too_early(bytemuck::bytes_of(&refers(at_the_end_of_memory(&FATBINS[0].1[..100]))));
}

#[test]
fn a_text_ends_with_a_zero_before_memory_does() {
    let _turn = fresh("{}");
    context();
    let long = format!("{}// {}", KERNELS, "x".repeat(3 * 4096));
    for text in [KERNELS, &long] {
        ends_too_early(text.as_bytes());
        let text = CString::new(text).expect("PTX has no zero");
        gives(loads(at_the_end_of_memory(text.as_bytes_with_nul())), 0);
    }
}

#[test]
fn what_is_wrong_with_ptx_has_the_code_of_cuda() {
    let _turn = fresh("{\"arch\": 80}");
    context();
    let head =
        |version: &str, target: &str| format!(".version {version}\n.target {target}\n.address_size 64\n");
    gives(text(&head("8.0", "sm_80")), 0);
    gives(text(""), 218);
    gives(text("garbage"), 218);
    gives(text(&(head("8.0", "sm_80") + ".visible .entry f() { frobnicate.u32 %r0; ret; }")), 218);
    gives(text(&head("99.0", "sm_80")), 222);
    gives(text(&head("8.0", "sm_90")), 218);
    gives(text(&head("8.0", "sm_90a")), 218);
    // SAFETY: null is the point.
    gives(unsafe { sys::cuModuleLoadData(&mut null_mut(), std::ptr::null()) }, 1);
    // SAFETY: null is the point.
    gives(unsafe { sys::cuModuleLoadData(null_mut(), KERNELS.as_ptr().cast()) }, 1);
}

#[test]
fn the_error_log_names_line_and_text() {
    let _turn = fresh("{}");
    context();
    let ptx = c".version 8.0\n.target sm_80\n.address_size 64\n.visible .entry f()\n{\n\tfrobnicate.u32 %r1, %r2;\n\tret;\n}\n";
    for len in [200_usize, 12] {
        let mut log = vec![1_u8; len];
        let mut keys =
            [CUjit_option::CU_JIT_ERROR_LOG_BUFFER, CUjit_option::CU_JIT_ERROR_LOG_BUFFER_SIZE_BYTES];
        let mut values = [log.as_mut_ptr().cast::<c_void>(), std::ptr::without_provenance_mut(len)];
        let mut module = null_mut();
        // SAFETY: the log has the length given, the PTX ends with a zero.
        gives(
            unsafe {
                sys::cuModuleLoadDataEx(
                    &mut module,
                    ptx.as_ptr().cast(),
                    2,
                    keys.as_mut_ptr(),
                    values.as_mut_ptr(),
                )
            },
            218,
        );
        let end = log.iter().position(|&b| b == 0).expect("the log ends with a zero");
        let text = String::from_utf8_lossy(&log[..end]);
        match len {
            12 => assert_eq!(end, 11, "cut to fit: {text}"),
            _ => assert!(text.contains("line 6") && text.contains("frobnicate"), "{text}"),
        }
    }
}

#[test]
fn a_module_that_does_not_load_takes_no_memory() {
    let _turn = fresh("{}");
    context();
    let free = || {
        let (mut free, mut total) = (0, 0);
        // SAFETY: the pointers are to locals.
        ok(unsafe { sys::cuMemGetInfo_v2(&mut free, &mut total) });
        free
    };
    let before = free();
    let head = ".version 8.0\n.target sm_75\n.address_size 64\n.global .b8 big[1000000];\n";
    gives(text(&format!("{head}.visible .entry f() {{ frobnicate; ret; }}")), 218);
    assert_eq!(free(), before);
    let module = load(head);
    assert_eq!(free(), before - 1_000_000);
    // SAFETY: the handle is live.
    ok(unsafe { sys::cuModuleUnload(module) });
    assert_eq!(free(), before);
}

#[test]
fn variables_have_addresses_sizes_and_initial_values() {
    let _turn = fresh("{}");
    context();
    let module = load(KERNELS);
    let global = |name: &std::ffi::CStr| {
        let (mut p, mut n) = (0, 0);
        // SAFETY: the pointers are to locals, the handle is live.
        (unsafe { sys::cuModuleGetGlobal_v2(&mut p, &mut n, module, name.as_ptr()) } as u32, p, n)
    };
    let (code, p, n) = global(c"counter");
    assert_eq!((code, n, host(p, 1)), (0, 4, vec![7]));
    let (code, p, n) = global(c"table");
    assert_eq!((code, n, host(p, 4)), (0, 16, vec![1, 2, 3, 4]));
    assert_eq!(global(c"nothing").0, 500);
    // SAFETY: the handles are live until the module is unloaded, and refused after it.
    unsafe {
        let (f, stale) = (kernel(module, "empty"), p);
        gives(sys::cuModuleGetFunction(&mut null_mut(), module, c"nothing".as_ptr()), 500);
        assert_eq!(get::<u32>(|p| sys::cuModuleGetFunctionCount(p, module)), 8);
        gives(sys::cuMemFree_v2(p), 1);
        ok(sys::cuModuleUnload(module));
        gives(sys::cuModuleUnload(module), 400);
        gives(launch(f, 1, 1, DEFAULT, &[]), 400);
        gives(sys::cuMemsetD8_v2(stale, 0, 1), 1);
        gives(sys::cuModuleGetFunction(&mut null_mut(), f.cast(), c"empty".as_ptr()), 400);
    }
}

#[test]
fn files_load_as_their_contents_do() {
    let _turn = fresh("{\"arch\": 80}");
    context();
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/tests");
    let file = |name: &str| {
        let path = CString::new(format!("{folder}/{name}")).expect("paths have no zero");
        // SAFETY: the pointer is to a local, the path ends with a zero.
        unsafe { sys::cuModuleLoad(&mut null_mut(), path.as_ptr()) }
    };
    gives(file("ptx/driver.ptx"), 0);
    gives(file("fatbin/which.speed.fatbin"), 0);
    gives(file("fatbin/which.elf.fatbin"), 209);
    gives(file("fatbin/nothing"), 301);
    gives(file("driver_module.rs"), 218);
}

#[test]
fn libraries_hold_kernels_and_variables() {
    let _turn = fresh("{}");
    context();
    let ptx = CString::new(KERNELS).expect("PTX has no zero");
    // SAFETY: the PTX ends with a zero, the pointers are to locals, the handles are live.
    unsafe {
        let (none, nothing) = (null_mut(), null_mut());
        let library: sys::CUlibrary = get(|p| {
            sys::cuLibraryLoadData(p, ptx.as_ptr().cast(), none, nothing, 0, null_mut(), null_mut(), 0)
        });
        let kernel: sys::CUkernel = get(|p| sys::cuLibraryGetKernel(p, library, c"add".as_ptr()));
        let f: sys::CUfunction = get(|p| sys::cuKernelGetFunction(p, kernel));
        let x = device(&[1]);
        ok(launch(f, 1, 1, DEFAULT, &[x, 1, 1]));
        // The runtime passes kernels of libraries as they are.
        ok(launch(kernel.cast(), 1, 1, DEFAULT, &[x, 1, 1]));
        assert_eq!(host(x, 1), [3]);
        let (mut p, mut n) = (0, 0);
        ok(sys::cuLibraryGetGlobal(&mut p, &mut n, library, c"counter".as_ptr()));
        assert_eq!((host(p, 1), n), (vec![7], 4));
        gives(sys::cuLibraryGetKernel(&mut null_mut(), library, c"nothing".as_ptr()), 500);
        ok(sys::cuLibraryUnload(library));
        gives(sys::cuLibraryUnload(library), 400);
    }
}
