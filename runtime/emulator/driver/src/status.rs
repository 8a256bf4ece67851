//! What calls give back (`CUresult`).

use std::ffi::{CStr, c_int};

/// A `CUresult`; 0 where all went well.
pub type Status = c_int;

macro_rules! statuses {
    ($($name:ident = $value:literal, $said:literal;)*) => {
        $(pub(crate) const $name: Status = $value;)*

        /// Its name and what it says; `None` for a number that is none of these.
        pub(crate) fn words(status: Status) -> Option<(&'static CStr, &'static CStr)> {
            Some(match status {
                $($value => (
                    c_text(concat!("CUDA_", stringify!($name), "\0")),
                    c_text(concat!($said, "\0")),
                ),)*
                _ => return None,
            })
        }
    };
}

statuses! {
    SUCCESS = 0, "no error";
    ERROR_INVALID_VALUE = 1, "invalid argument";
    ERROR_OUT_OF_MEMORY = 2, "out of memory";
    ERROR_INVALID_DEVICE = 101, "invalid device ordinal";
    ERROR_NO_BINARY_FOR_GPU = 209, "no kernel image is available for execution on the device";
    ERROR_INVALID_PTX = 218, "a PTX JIT compilation failed";
    ERROR_INVALID_HANDLE = 400, "invalid resource handle";
    ERROR_NOT_FOUND = 500, "named symbol not found";
    ERROR_ILLEGAL_ADDRESS = 700, "an illegal memory access was encountered";
    ERROR_LAUNCH_FAILED = 719, "unspecified launch failure";
    ERROR_STREAM_CAPTURE_UNSUPPORTED = 900, "operation not permitted when stream is capturing";
}

fn c_text(text: &'static str) -> &'static CStr {
    CStr::from_bytes_with_nul(text.as_bytes()).expect("the text ends with its only zero")
}
