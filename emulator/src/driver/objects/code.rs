//! The result codes of the driver API: `CUresult`.

use std::{borrow::Cow, ffi::CStr};

/// A result code, as C callers get it.
#[repr(transparent)]
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Code(pub u32);

/// Why a call fails: the code that C callers get, and the numbers behind it for reports.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Error {
    /// The code.
    pub code: Code,
    /// What was found and what was expected.
    pub message: Cow<'static, str>,
}

pub type Result<T> = std::result::Result<T, Error>;

impl Code {
    /// An error with this code.
    pub fn because(self, message: impl Into<Cow<'static, str>>) -> Error {
        Error { code: self, message: message.into() }
    }

    /// The name and the description of a code that exists.
    pub fn describe(self) -> Option<(&'static CStr, &'static CStr)> {
        TABLE.iter().find(|(code, ..)| *code == self).map(|&(_, name, text)| (name, text))
    }
}

macro_rules! codes {
    ($($name:ident = $value:literal $c_name:literal $text:literal;)*) => {
        #[allow(dead_code, reason = "the list is that of the API")]
        impl Code {
            $(pub const $name: Code = Code($value);)*
        }

        const TABLE: &[(Code, &CStr, &CStr)] = &[$((Code::$name, $c_name, $text),)*];
    };
}

codes! {
    SUCCESS = 0 c"CUDA_SUCCESS" c"no error";
    INVALID_VALUE = 1 c"CUDA_ERROR_INVALID_VALUE" c"invalid argument";
    OUT_OF_MEMORY = 2 c"CUDA_ERROR_OUT_OF_MEMORY" c"out of memory";
    NOT_INITIALIZED = 3 c"CUDA_ERROR_NOT_INITIALIZED" c"cuInit was not called";
    DEINITIALIZED = 4 c"CUDA_ERROR_DEINITIALIZED" c"driver is shutting down";
    PROFILER_DISABLED = 5 c"CUDA_ERROR_PROFILER_DISABLED" c"profiler is disabled";
    PROFILER_NOT_INITIALIZED = 6 c"CUDA_ERROR_PROFILER_NOT_INITIALIZED" c"profiler is not initialised";
    PROFILER_ALREADY_STARTED = 7 c"CUDA_ERROR_PROFILER_ALREADY_STARTED" c"profiler runs already";
    PROFILER_ALREADY_STOPPED = 8 c"CUDA_ERROR_PROFILER_ALREADY_STOPPED" c"profiler has stopped already";
    STUB_LIBRARY = 34 c"CUDA_ERROR_STUB_LIBRARY" c"the library is a stub";
    DEVICE_UNAVAILABLE = 46 c"CUDA_ERROR_DEVICE_UNAVAILABLE" c"device is busy or unavailable";
    NO_DEVICE = 100 c"CUDA_ERROR_NO_DEVICE" c"no CUDA device";
    INVALID_DEVICE = 101 c"CUDA_ERROR_INVALID_DEVICE" c"invalid device ordinal";
    DEVICE_NOT_LICENSED = 102 c"CUDA_ERROR_DEVICE_NOT_LICENSED" c"device has no licence";
    INVALID_IMAGE = 200 c"CUDA_ERROR_INVALID_IMAGE" c"device kernel image is invalid";
    INVALID_CONTEXT = 201 c"CUDA_ERROR_INVALID_CONTEXT" c"invalid device context";
    CONTEXT_ALREADY_CURRENT = 202 c"CUDA_ERROR_CONTEXT_ALREADY_CURRENT" c"context is already current";
    MAP_FAILED = 205 c"CUDA_ERROR_MAP_FAILED" c"mapping failed";
    UNMAP_FAILED = 206 c"CUDA_ERROR_UNMAP_FAILED" c"unmapping failed";
    ARRAY_IS_MAPPED = 207 c"CUDA_ERROR_ARRAY_IS_MAPPED" c"array is mapped";
    ALREADY_MAPPED = 208 c"CUDA_ERROR_ALREADY_MAPPED" c"resource is mapped already";
    NO_BINARY_FOR_GPU = 209 c"CUDA_ERROR_NO_BINARY_FOR_GPU" c"no kernel image for this device";
    ALREADY_ACQUIRED = 210 c"CUDA_ERROR_ALREADY_ACQUIRED" c"resource is acquired already";
    NOT_MAPPED = 211 c"CUDA_ERROR_NOT_MAPPED" c"resource is not mapped";
    NOT_MAPPED_AS_ARRAY = 212 c"CUDA_ERROR_NOT_MAPPED_AS_ARRAY" c"resource is not mapped as an array";
    NOT_MAPPED_AS_POINTER = 213 c"CUDA_ERROR_NOT_MAPPED_AS_POINTER" c"resource is not mapped as a pointer";
    ECC_UNCORRECTABLE = 214 c"CUDA_ERROR_ECC_UNCORRECTABLE" c"uncorrectable ECC error";
    UNSUPPORTED_LIMIT = 215 c"CUDA_ERROR_UNSUPPORTED_LIMIT" c"limit is not supported";
    CONTEXT_ALREADY_IN_USE = 216 c"CUDA_ERROR_CONTEXT_ALREADY_IN_USE" c"context is in use elsewhere";
    PEER_ACCESS_UNSUPPORTED = 217 c"CUDA_ERROR_PEER_ACCESS_UNSUPPORTED" c"peer access is not supported";
    INVALID_PTX = 218 c"CUDA_ERROR_INVALID_PTX" c"PTX does not compile";
    INVALID_GRAPHICS_CONTEXT = 219 c"CUDA_ERROR_INVALID_GRAPHICS_CONTEXT" c"invalid graphics context";
    NVLINK_UNCORRECTABLE = 220 c"CUDA_ERROR_NVLINK_UNCORRECTABLE" c"uncorrectable NVLink error";
    JIT_COMPILER_NOT_FOUND = 221 c"CUDA_ERROR_JIT_COMPILER_NOT_FOUND" c"no PTX compiler";
    UNSUPPORTED_PTX_VERSION = 222 c"CUDA_ERROR_UNSUPPORTED_PTX_VERSION" c"PTX version is newer than the driver";
    JIT_COMPILATION_DISABLED = 223 c"CUDA_ERROR_JIT_COMPILATION_DISABLED" c"compilation of PTX is disabled";
    UNSUPPORTED_EXEC_AFFINITY = 224 c"CUDA_ERROR_UNSUPPORTED_EXEC_AFFINITY" c"execution affinity is not supported";
    INVALID_SOURCE = 300 c"CUDA_ERROR_INVALID_SOURCE" c"invalid source";
    FILE_NOT_FOUND = 301 c"CUDA_ERROR_FILE_NOT_FOUND" c"file not found";
    SHARED_OBJECT_SYMBOL_NOT_FOUND = 302 c"CUDA_ERROR_SHARED_OBJECT_SYMBOL_NOT_FOUND" c"symbol of a shared object not found";
    SHARED_OBJECT_INIT_FAILED = 303 c"CUDA_ERROR_SHARED_OBJECT_INIT_FAILED" c"shared object does not initialise";
    OPERATING_SYSTEM = 304 c"CUDA_ERROR_OPERATING_SYSTEM" c"a call of the operating system failed";
    INVALID_HANDLE = 400 c"CUDA_ERROR_INVALID_HANDLE" c"invalid resource handle";
    ILLEGAL_STATE = 401 c"CUDA_ERROR_ILLEGAL_STATE" c"resource is not in a state for this";
    NOT_FOUND = 500 c"CUDA_ERROR_NOT_FOUND" c"named symbol not found";
    NOT_READY = 600 c"CUDA_ERROR_NOT_READY" c"device is not ready";
    ILLEGAL_ADDRESS = 700 c"CUDA_ERROR_ILLEGAL_ADDRESS" c"illegal memory access";
    LAUNCH_OUT_OF_RESOURCES = 701 c"CUDA_ERROR_LAUNCH_OUT_OF_RESOURCES" c"launch needs more resources than there are";
    LAUNCH_TIMEOUT = 702 c"CUDA_ERROR_LAUNCH_TIMEOUT" c"launch made no progress";
    LAUNCH_INCOMPATIBLE_TEXTURING = 703 c"CUDA_ERROR_LAUNCH_INCOMPATIBLE_TEXTURING" c"incompatible texturing mode";
    PEER_ACCESS_ALREADY_ENABLED = 704 c"CUDA_ERROR_PEER_ACCESS_ALREADY_ENABLED" c"peer access is enabled already";
    PEER_ACCESS_NOT_ENABLED = 705 c"CUDA_ERROR_PEER_ACCESS_NOT_ENABLED" c"peer access is not enabled";
    PRIMARY_CONTEXT_ACTIVE = 708 c"CUDA_ERROR_PRIMARY_CONTEXT_ACTIVE" c"primary context is active";
    CONTEXT_IS_DESTROYED = 709 c"CUDA_ERROR_CONTEXT_IS_DESTROYED" c"context is destroyed";
    ASSERT = 710 c"CUDA_ERROR_ASSERT" c"device-side assertion failed";
    TOO_MANY_PEERS = 711 c"CUDA_ERROR_TOO_MANY_PEERS" c"too many peers";
    HOST_MEMORY_ALREADY_REGISTERED = 712 c"CUDA_ERROR_HOST_MEMORY_ALREADY_REGISTERED" c"host memory is registered already";
    HOST_MEMORY_NOT_REGISTERED = 713 c"CUDA_ERROR_HOST_MEMORY_NOT_REGISTERED" c"host memory is not registered";
    HARDWARE_STACK_ERROR = 714 c"CUDA_ERROR_HARDWARE_STACK_ERROR" c"device stack error";
    ILLEGAL_INSTRUCTION = 715 c"CUDA_ERROR_ILLEGAL_INSTRUCTION" c"illegal instruction";
    MISALIGNED_ADDRESS = 716 c"CUDA_ERROR_MISALIGNED_ADDRESS" c"misaligned address";
    INVALID_ADDRESS_SPACE = 717 c"CUDA_ERROR_INVALID_ADDRESS_SPACE" c"address of another space";
    INVALID_PC = 718 c"CUDA_ERROR_INVALID_PC" c"invalid program counter";
    LAUNCH_FAILED = 719 c"CUDA_ERROR_LAUNCH_FAILED" c"launch failed";
    COOPERATIVE_LAUNCH_TOO_LARGE = 720 c"CUDA_ERROR_COOPERATIVE_LAUNCH_TOO_LARGE" c"cooperative launch has more blocks than fit at once";
    NOT_PERMITTED = 800 c"CUDA_ERROR_NOT_PERMITTED" c"operation is not permitted";
    NOT_SUPPORTED = 801 c"CUDA_ERROR_NOT_SUPPORTED" c"operation is not supported";
    SYSTEM_NOT_READY = 802 c"CUDA_ERROR_SYSTEM_NOT_READY" c"system is not ready";
    SYSTEM_DRIVER_MISMATCH = 803 c"CUDA_ERROR_SYSTEM_DRIVER_MISMATCH" c"drivers do not match";
    COMPAT_NOT_SUPPORTED_ON_DEVICE = 804 c"CUDA_ERROR_COMPAT_NOT_SUPPORTED_ON_DEVICE" c"compatibility mode is not supported here";
    STREAM_CAPTURE_UNSUPPORTED = 900 c"CUDA_ERROR_STREAM_CAPTURE_UNSUPPORTED" c"operation is not permitted while a stream is captured";
    STREAM_CAPTURE_INVALIDATED = 901 c"CUDA_ERROR_STREAM_CAPTURE_INVALIDATED" c"capture was invalidated by an earlier error";
    STREAM_CAPTURE_MERGE = 902 c"CUDA_ERROR_STREAM_CAPTURE_MERGE" c"operation would merge two captures";
    STREAM_CAPTURE_UNMATCHED = 903 c"CUDA_ERROR_STREAM_CAPTURE_UNMATCHED" c"capture was not begun in this stream";
    STREAM_CAPTURE_UNJOINED = 904 c"CUDA_ERROR_STREAM_CAPTURE_UNJOINED" c"capture has streams that were not joined";
    STREAM_CAPTURE_ISOLATION = 905 c"CUDA_ERROR_STREAM_CAPTURE_ISOLATION" c"capture would depend on work outside";
    STREAM_CAPTURE_IMPLICIT = 906 c"CUDA_ERROR_STREAM_CAPTURE_IMPLICIT" c"operation would make the legacy stream depend on a captured stream";
    CAPTURED_EVENT = 907 c"CUDA_ERROR_CAPTURED_EVENT" c"event was recorded in a captured stream";
    STREAM_CAPTURE_WRONG_THREAD = 908 c"CUDA_ERROR_STREAM_CAPTURE_WRONG_THREAD" c"capture was begun by another thread";
    TIMEOUT = 909 c"CUDA_ERROR_TIMEOUT" c"wait timed out";
    GRAPH_EXEC_UPDATE_FAILURE = 910 c"CUDA_ERROR_GRAPH_EXEC_UPDATE_FAILURE" c"graph differs too much for an update";
    EXTERNAL_DEVICE = 911 c"CUDA_ERROR_EXTERNAL_DEVICE" c"error outside CUDA";
    INVALID_CLUSTER_SIZE = 912 c"CUDA_ERROR_INVALID_CLUSTER_SIZE" c"invalid cluster size";
    UNKNOWN = 999 c"CUDA_ERROR_UNKNOWN" c"unknown error";
}
