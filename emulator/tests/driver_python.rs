//! A program in another language that loads the library by path: Python's ctypes.

mod driver;

use std::process::Command;

const PROGRAM: &str = r#"
import ctypes, sys
cuda = ctypes.CDLL(sys.argv[1])
def call(name, *args):
    code = getattr(cuda, name)(*args)
    assert code == 0, (name, code)
context, module, f, x = (ctypes.c_void_p() for _ in range(4))
assert cuda.cuCtxSynchronize() == 3, "not initialised"
call("cuInit", 0)
call("cuDevicePrimaryCtxRetain", ctypes.byref(context), 0)
call("cuCtxSetCurrent", context)
major, minor = ctypes.c_int(), ctypes.c_int()
call("cuDeviceGetAttribute", ctypes.byref(major), 75, 0)
call("cuDeviceGetAttribute", ctypes.byref(minor), 76, 0)
assert (major.value, minor.value) == (8, 6), (major.value, minor.value)
call("cuModuleLoad", ctypes.byref(module), sys.argv[2].encode())
call("cuModuleGetFunction", ctypes.byref(f), module, b"add")
n = 1000
call("cuMemAlloc_v2", ctypes.byref(x), ctypes.c_size_t(4 * n))
values = (ctypes.c_uint32 * n)(*range(n))
call("cuMemcpyHtoD_v2", x, values, ctypes.c_size_t(4 * n))
amount, count = ctypes.c_uint32(5), ctypes.c_uint32(n)
params = (ctypes.c_void_p * 3)(*(ctypes.addressof(a) for a in (x, amount, count)))
call("cuLaunchKernel", f, 8, 1, 1, 128, 1, 1, 0, None, params, None)
call("cuMemcpyDtoH_v2", values, x, ctypes.c_size_t(4 * n))
assert list(values) == [i + 5 for i in range(n)]
print("done")
"#;

#[test]
fn python_drives_the_library() {
    if Command::new("python3").arg("--version").output().is_err() {
        assert!(std::env::var_os("CUDA_EMULATOR_TEST_REQUIRE_ALL").is_none(), "python3 is missing");
        println!("skipped: python3 is missing");
        return;
    }
    let kernels = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/ptx/driver.ptx");
    let output = Command::new("python3")
        .args(["-c", PROGRAM])
        .arg(driver::path())
        .arg(kernels)
        // A leak is a finding: the program frees nothing.
        .envs([("CUDA_EMULATOR_ARCH", "86"), ("CUDA_EMULATOR_CHECK", "1")])
        .output()
        .expect("python3 runs");
    let (out, err) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert_eq!((output.status.code(), out.trim()), (Some(99), "done"), "{out}{err}");
    assert!(err.contains("leak: device memory of 4000 bytes"), "{err}");
}
