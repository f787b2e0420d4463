//! Programs that use the driver through cudarc's safe layer.

mod driver;

use cudarc::{
    driver::{CudaContext, LaunchConfig, PushKernelArg, sys},
    nvrtc::Ptx,
};
use driver::{VECTOR_ADD, fresh};

#[test]
fn vector_add_through_cudarc() {
    let _turn = fresh("{}");
    let context = CudaContext::new(0).expect("there is a device");
    let stream = context.new_stream().expect("streams are created");
    let module = context.load_module(Ptx::from_src(VECTOR_ADD)).expect("the module loads");
    let add = module.load_function("vector_add").expect("the kernel is there");
    let n = 1000;
    let a: Vec<f32> = (0..n).map(|i| i as f32 * 1.5).collect();
    let b: Vec<f32> = (0..n).map(|i| i as f32 * 0.25 - 7.0).collect();
    let (a_dev, b_dev) = (stream.clone_htod(&a).expect("copies"), stream.clone_htod(&b).expect("copies"));
    let mut c_dev = stream.alloc_zeros::<f32>(n).expect("there is room");
    let mut launch = stream.launch_builder(&add);
    let count = n as u32;
    launch.arg(&mut c_dev).arg(&a_dev).arg(&b_dev).arg(&count);
    // SAFETY: order and types follow the kernel's parameters, and all buffers have `n` elements.
    unsafe { launch.launch(LaunchConfig::for_num_elems(count)).expect("the launch is valid") };
    let c = stream.clone_dtoh(&c_dev).expect("the kernel runs");
    for i in 0..n {
        assert_eq!(c[i], a[i] + b[i], "element {i}");
    }
}

#[test]
fn a_kernel_that_leaves_its_buffer_breaks_the_context() {
    let _turn = fresh(r#"{"quiet": 1}"#);
    let context = CudaContext::new(0).expect("there is a device");
    let stream = context.default_stream();
    let module = context.load_module(Ptx::from_src(VECTOR_ADD)).expect("the module loads");
    let add = module.load_function("vector_add").expect("the kernel is there");
    let mut x = stream.alloc_zeros::<f32>(100).expect("there is room");
    let mut launch = stream.launch_builder(&add);
    let (view, count) = (x.as_view(), 101_u32);
    launch.arg(&view).arg(&view).arg(&view).arg(&count);
    // SAFETY: order and types follow the kernel's parameters; that it leaves the buffer is the point.
    unsafe { launch.launch(LaunchConfig::for_num_elems(count)).expect("launches are asynchronous") };
    let error = stream.synchronize().expect_err("thread 100 is outside");
    assert_eq!(error.0, sys::CUresult::CUDA_ERROR_ILLEGAL_ADDRESS);
    let error = stream.memset_zeros(&mut x).expect_err("the error stays");
    assert_eq!(error.0, sys::CUresult::CUDA_ERROR_ILLEGAL_ADDRESS);
    assert!(driver::findings().contains("thread (100,0,0)"), "{}", driver::last_error());
}
