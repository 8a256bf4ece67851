//! A GPU of this machine, by CUDA's driver interface.
//!
//! All that an instance tells it goes into one stream, in order. A stretch of kernels and copies that comes again is
//! captured as a graph, which the driver launches as a whole; where a profile is asked for, each kernel is timed on the
//! GPU and waited for instead. What a kernel does wrong the driver says when it is next waited for, without its name; the message then has
//! the name where one kernel alone can have done it.

mod code;
mod driver;
mod event;
mod graph;
mod tensor_map;

pub(in super::super) use code::CudaCode;
pub(crate) use code::capability;

use super::super::RunError;
use super::super::engine::Clock;
use super::device::{Failure, GpuDevice, GpuError};
use super::schedule::{Command, Launch, Stretch};
use cudarc::driver::result::{self, DriverError};
use cudarc::driver::sys;
use driver::text;
use event::Event;
use graph::Graph;
use std::collections::HashMap;
use std::ffi::c_void;
use std::sync::Arc;
use tensor_map::tensor_map;

/// A GPU, with memory and a stream for one instance.
pub(in super::super) struct Cuda {
    code: Arc<CudaCode>,
    stream: sys::CUstream,
    memory: Vec<sys::CUdeviceptr>,
    /// By the number of a stretch: that it was run once, or its graph.
    stretches: HashMap<usize, Option<Graph>>,
    launched: Launched,
}

/// The kernels launched since the stream was last waited for.
#[derive(Clone, Copy)]
enum Launched {
    None,
    /// By its number.
    One(usize),
    Several,
}

// SAFETY: the driver's handles may be used by any thread in whose context they are, and every method makes the context
// current first. What changes the stream's work takes this value exclusively.
unsafe impl Send for Cuda {}
// SAFETY: as above; `read` alone takes a shared reference, and the driver lets several threads add to one stream.
unsafe impl Sync for Cuda {}

impl Cuda {
    /// A stream of its own on the GPU that holds the code.
    pub(in super::super) fn new(code: &Arc<CudaCode>) -> Result<Self, RunError> {
        let kind = result::stream::StreamKind::NonBlocking;
        let stream = code
            .context
            .enter()
            .and_then(|()| result::stream::create(kind));
        let stream = stream.map_err(|error| RunError::Device {
            device: code.name.clone(),
            what: "a stream".to_owned(),
            message: text(error),
        })?;
        Ok(Self {
            code: Arc::clone(code),
            stream,
            memory: Vec::new(),
            stretches: HashMap::new(),
            launched: Launched::None,
        })
    }

    /// Adds a kernel to the stream.
    fn launch(&self, launch: &Launch) -> Result<(), DriverError> {
        let mut values: Vec<u64> = launch.parameters().collect();
        let maps = launch.code.tensor_maps.iter();
        let mut maps = maps
            .map(|map| tensor_map(map, launch.buffers[map.buffer].address))
            .collect::<Result<Vec<_>, _>>()?;
        let values = values
            .iter_mut()
            .map(|value| std::ptr::from_mut(value).cast());
        let maps = maps.iter_mut().map(|map| std::ptr::from_mut(map).cast());
        let mut parameters: Vec<*mut c_void> = values.chain(maps).collect();
        let [x, y, z] = launch.code.cluster;
        let mut cluster = sys::CUlaunchAttribute {
            id: sys::CUlaunchAttributeID::CU_LAUNCH_ATTRIBUTE_CLUSTER_DIMENSION,
            pad: [0; 4],
            value: sys::CUlaunchAttributeValue {
                clusterDim: sys::CUlaunchAttributeValue_union__bindgen_ty_1 { x, y, z },
            },
        };
        let config = sys::CUlaunchConfig {
            gridDimX: launch.code.grid[0],
            gridDimY: launch.code.grid[1],
            gridDimZ: launch.code.grid[2],
            blockDimX: launch.code.block[0],
            blockDimY: launch.code.block[1],
            blockDimZ: launch.code.block[2],
            sharedMemBytes: launch.code.shared_bytes,
            hStream: self.stream,
            attrs: &raw mut cluster,
            // GPUs before Hopper have no clusters, and refuse to be asked for one of a single CTA.
            numAttrs: u32::from(launch.code.cluster != [1; 3]),
        };
        let function = self.code.functions[launch.kernel];
        // SAFETY: stream and function are of this context; the configuration and what it points to outlive the call,
        // which copies the parameters. That there are as many as the kernel takes, 64-bit addresses of memory that is
        // large enough and tensor maps of it, is what the bundle states and validation has found of its buffers.
        unsafe {
            let (parameters, extra) = (parameters.as_mut_ptr(), std::ptr::null_mut());
            sys::cuLaunchKernelEx(&raw const config, function, parameters, extra).result()
        }
    }

    fn command(&self, command: &Command) -> Result<(), Failure> {
        match command {
            Command::Launch(launch) => self.launch(launch).map_err(|error| Failure {
                kernel: Some(launch.kernel),
                error: failed(error),
            }),
            Command::Copy {
                source,
                destination,
                bytes,
            } => {
                // SAFETY: addresses of this instance's memory, each with that many bytes behind it.
                let done = unsafe {
                    result::memcpy_dtod_async(*destination, *source, *bytes, self.stream)
                };
                Ok(done.map_err(failed)?)
            }
        }
    }

    /// Adds a stretch to the stream: the first time as it is, then as a graph.
    fn enqueue(&mut self, stretch: &Stretch) -> Result<(), Failure> {
        let commands = || stretch.commands.iter();
        if stretch.commands.len() == 1 {
            return commands().try_for_each(|command| self.command(command));
        }
        match self.stretches.get(&stretch.number) {
            None => {
                self.stretches.insert(stretch.number, None);
                commands().try_for_each(|command| self.command(command))
            }
            Some(Some(graph)) => Ok(graph.launch(self.stream).map_err(failed)?),
            Some(None) => {
                let graph = Graph::capture(self.stream, || {
                    commands().try_for_each(|command| self.command(command))
                })?;
                graph.launch(self.stream).map_err(failed)?;
                self.stretches.insert(stretch.number, Some(graph));
                Ok(())
            }
        }
    }

    /// Waits until the stream is empty.
    fn wait(&self) -> Result<(), DriverError> {
        // SAFETY: the stream is of this context.
        unsafe { result::stream::synchronize(self.stream) }
    }

    /// Waits for what was launched.
    fn settle(&mut self) -> Result<(), Failure> {
        let launched = std::mem::replace(&mut self.launched, Launched::None);
        self.wait().map_err(|error| match launched {
            Launched::One(kernel) => Failure {
                kernel: Some(kernel),
                error: failed(error),
            },
            Launched::None => failed(error).into(),
            Launched::Several => {
                let advice = "one of several kernels; a profile waits for each, and names it";
                GpuError::Failed(format!("{} ({advice})", text(error))).into()
            }
        })
    }

    fn note(&mut self, command: &Command) {
        if let Command::Launch(launch) = command {
            self.launched = match self.launched {
                Launched::None => Launched::One(launch.kernel),
                Launched::One(_) | Launched::Several => Launched::Several,
            };
        }
    }
}

impl GpuDevice for Cuda {
    fn name(&self) -> String {
        self.code.name.clone()
    }

    fn allocate(&mut self, bytes: usize) -> Result<u64, GpuError> {
        self.code.context.enter().map_err(failed)?;
        // SAFETY: a context is current. No bytes still need an address of their own.
        let address = unsafe { result::malloc_sync(bytes.max(1)) }.map_err(failed)?;
        self.memory.push(address);
        Ok(address)
    }

    fn write(&mut self, address: u64, bytes: &[u8]) -> Result<(), GpuError> {
        if bytes.is_empty() {
            return Ok(());
        }
        self.code.context.enter().map_err(failed)?;
        // SAFETY: the address is one of `allocate`, with that many bytes; the copy has ended when this returns.
        unsafe { result::memcpy_htod_async(address, bytes, self.stream) }.map_err(failed)?;
        self.wait().map_err(failed)
    }

    fn read(&self, address: u64, bytes: &mut [u8]) -> Result<(), GpuError> {
        if bytes.is_empty() {
            return Ok(());
        }
        self.code.context.enter().map_err(failed)?;
        // SAFETY: as for `write`.
        unsafe { result::memcpy_dtoh_async(bytes, address, self.stream) }.map_err(failed)?;
        self.wait().map_err(failed)
    }

    fn run(&mut self, stretch: &Stretch, clock: Option<&mut Clock>) -> Result<(), Failure> {
        self.code.context.enter().map_err(failed)?;
        let Some(clock) = clock else {
            stretch
                .commands
                .iter()
                .for_each(|command| self.note(command));
            return self.enqueue(stretch);
        };
        let [begin, end] = [Event::new().map_err(failed)?, Event::new().map_err(failed)?];
        for command in &stretch.commands {
            self.settle()?;
            begin.record(self.stream).map_err(failed)?;
            self.command(command)?;
            end.record(self.stream).map_err(failed)?;
            self.note(command);
            self.settle()?;
            let time = end.since(&begin).map_err(failed)?;
            let spent = match command {
                Command::Launch(launch) => &mut clock.kernels[launch.kernel],
                Command::Copy { .. } => &mut clock.copies,
            };
            spent.add(time, 0);
        }
        Ok(())
    }

    fn finish(&mut self) -> Result<(), Failure> {
        self.code.context.enter().map_err(failed)?;
        self.settle()
    }
}

impl Drop for Cuda {
    fn drop(&mut self) {
        // After a fault every call fails, and the driver has freed what there was.
        if self.code.context.enter().is_err() {
            return;
        }
        let _ = self.wait();
        self.stretches.clear();
        for &address in &self.memory {
            // SAFETY: `allocate` got it, and nothing runs that uses it.
            let _ = unsafe { result::free_sync(address) };
        }
        // SAFETY: `new` made it, and it is not used again.
        let _ = unsafe { result::stream::destroy(self.stream) };
    }
}

fn failed(error: DriverError) -> GpuError {
    GpuError::Failed(text(error))
}
