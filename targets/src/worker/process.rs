//! A worker as its parent sees it, and what the two say to each other.
//!
//! A request is the length of a text (64 bits, little-endian) and the text. A reply is [`MAGIC`], a byte that says
//! whether the kernel was compiled, how its work is divided (a tag and its numbers), and the length and bytes of the code;
//! or the length and text of an error.

use super::WorkerCommand;
use crate::CodegenError;
use crate::blocks::Division;
use crate::codegen::{Code, Shape};
use crate::nvptx::Grid;
use std::fs::File;
use std::io::{self, BufReader, ErrorKind, Read, Write};
use std::os::unix::fs::FileExt;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use tessera_runtime::bundle::{TensorMap, Tile};

/// What every reply begins with, so that another program is noticed.
const MAGIC: [u8; 8] = *b"tsrwork3";

/// The tags of shapes.
const BLOCKS: u8 = 0;
const GRID: u8 = 1;

/// What a worker says of a kernel.
pub enum Reply {
    /// Its code.
    Compiled(Code),
    /// Why there is none.
    Refused(String),
}

/// A running worker. It is ended when this is dropped.
pub struct Process {
    child: Child,
    stdin: ChildStdin,
    stdout: BufReader<ChildStdout>,
    /// What it writes to standard error; a file, so that nobody has to read along.
    stderr: File,
    /// How much of that belongs to kernels before the present one.
    heard: u64,
}

impl Process {
    /// Starts a worker.
    pub fn start(command: &WorkerCommand) -> Result<Self, CodegenError> {
        let stderr = tempfile::tempfile()?;
        let mut child = Command::new(&command.program)
            .args(&command.arguments)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(stderr.try_clone()?)
            .spawn()
            .map_err(|error| CodegenError::Worker {
                program: command.program.clone(),
                message: format!("it cannot be started: {error}"),
            })?;
        let (stdin, stdout) = (child.stdin.take(), child.stdout.take());
        Ok(Self {
            child,
            stdin: stdin.expect("a pipe was asked for"),
            stdout: BufReader::new(stdout.expect("a pipe was asked for")),
            stderr,
            heard: 0,
        })
    }

    /// Hands over a kernel and waits for what becomes of it. After an error the worker is dead.
    ///
    /// # Errors
    /// `UnexpectedEof` where the worker dies over it, `InvalidData` where the program is no worker.
    pub fn ask(&mut self, request: &str) -> io::Result<Reply> {
        self.heard = self.stderr.metadata()?.len();
        let (stdin, stdout, child) = (&mut self.stdin, &mut self.stdout, &mut self.child);
        std::thread::scope(|scope| {
            // Beside the reading: a program that writes before it has read all would wait for us, and we for it. That
            // it does not read to the end shows in the reply.
            let write = move || drop(write_request(stdin, request));
            std::thread::Builder::new().spawn_scoped(scope, write)?;
            let reply = read_reply(stdout);
            if reply.is_err() {
                // Ends the writing as well. Where the worker has died, this changes nothing.
                let _ = child.kill();
            }
            reply
        })
    }

    /// How a worker that died did so, and the last that it said.
    pub fn last_words(&mut self) -> io::Result<String> {
        /// Enough for what LLVM says of an instruction that it cannot select.
        const LINES: usize = 20;
        let status = self.child.wait()?;
        let said = self.said()?;
        let lines: Vec<&str> = said.trim_end().lines().collect();
        let last = lines[lines.len().saturating_sub(LINES)..].join("\n");
        let colon = if last.is_empty() { "" } else { ": " };
        Ok(format!(
            "the process that compiled it ended with {status}{colon}{last}"
        ))
    }

    /// What the worker has written to standard error since it was given the present kernel.
    fn said(&self) -> io::Result<String> {
        // Reading at a position leaves alone the one at which the worker writes.
        let length = self.stderr.metadata()?.len().saturating_sub(self.heard);
        let mut bytes = vec![0; usize::try_from(length).unwrap_or(usize::MAX)];
        self.stderr.read_exact_at(&mut bytes, self.heard)?;
        Ok(String::from_utf8_lossy(&bytes).into_owned())
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // An idle worker has nothing to finish; a dead one has to be waited for all the same.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

pub fn write_request(output: &mut impl Write, text: &str) -> io::Result<()> {
    write_bytes(output, text.as_bytes())?;
    output.flush()
}

/// The next request; none at the end of the input.
pub fn read_request(input: &mut impl Read) -> io::Result<Option<String>> {
    match read_bytes(input) {
        Ok(bytes) => String::from_utf8(bytes)
            .map(Some)
            .map_err(|error| io::Error::new(ErrorKind::InvalidData, error)),
        Err(error) if error.kind() == ErrorKind::UnexpectedEof => Ok(None),
        Err(error) => Err(error),
    }
}

pub fn write_reply(output: &mut impl Write, reply: &Reply) -> io::Result<()> {
    output.write_all(&MAGIC)?;
    match reply {
        Reply::Compiled(Code { shape, bytes }) => {
            output.write_all(&[1])?;
            let (tag, numbers) = numbers(shape);
            output.write_all(&[tag])?;
            for number in numbers {
                output.write_all(&number.to_le_bytes())?;
            }
            write_bytes(output, bytes)?;
        }
        Reply::Refused(message) => {
            output.write_all(&[0])?;
            write_bytes(output, message.as_bytes())?;
        }
    }
    output.flush()
}

pub fn read_reply(input: &mut impl Read) -> io::Result<Reply> {
    for expected in MAGIC {
        if read_array(input)? != [expected] {
            return Err(ErrorKind::InvalidData.into());
        }
    }
    match read_array(input)? {
        [0] => {
            let message = read_bytes(input)?;
            Ok(Reply::Refused(
                String::from_utf8_lossy(&message).into_owned(),
            ))
        }
        [1] => {
            let shape = read_shape(input)?;
            let bytes = read_bytes(input)?;
            Ok(Reply::Compiled(Code { shape, bytes }))
        }
        _ => Err(ErrorKind::InvalidData.into()),
    }
}

/// Which shape it is, and its numbers.
fn numbers(shape: &Shape) -> (u8, Vec<u64>) {
    match shape {
        Shape::Blocks(Division {
            blocks,
            grain,
            scratch_bytes,
        }) => (BLOCKS, vec![*blocks, *grain, *scratch_bytes as u64]),
        Shape::Grid(Grid {
            ctas,
            cluster,
            threads,
            shared_bytes,
            workspace_bytes,
            tensor_maps,
            tile,
        }) => {
            let mut numbers = [*ctas, *cluster, *threads, *shared_bytes]
                .map(u64::from)
                .to_vec();
            numbers.push(u64::from(tile.is_some()));
            if let Some(tile) = tile {
                let of_tile = [tile.rows, tile.columns, tile.depth, tile.stages];
                numbers.extend(of_tile.map(u64::from));
            }
            numbers.extend([*workspace_bytes as u64, tensor_maps.len() as u64]);
            for map in tensor_maps {
                let lengths = [map.extents.len(), map.strides.len(), map.box_extents.len()];
                numbers.push(map.buffer as u64);
                numbers.extend(lengths.map(|length| length as u64));
                numbers.extend(map.extents.iter().chain(&map.strides));
                numbers.extend(map.box_extents.iter().copied().map(u64::from));
                numbers.push(map.swizzle_bytes.into());
            }
            (GRID, numbers)
        }
    }
}

fn read_shape(input: &mut impl Read) -> io::Result<Shape> {
    let invalid = |_| ErrorKind::InvalidData;
    match read_array(input)? {
        [BLOCKS] => Ok(Shape::Blocks(Division {
            blocks: read_number(input)?,
            grain: read_number(input)?,
            scratch_bytes: usize::try_from(read_number(input)?).map_err(invalid)?,
        })),
        [GRID] => {
            let [ctas, cluster, threads, shared_bytes] = [(); 4].map(|()| read_narrow(input));
            let tile = match read_number(input)? {
                0 => None,
                _ => Some(read_tile(input)?),
            };
            let workspace_bytes = usize::try_from(read_number(input)?).map_err(invalid)?;
            let maps = read_number(input)?;
            Ok(Shape::Grid(Grid {
                ctas: ctas?,
                cluster: cluster?,
                threads: threads?,
                shared_bytes: shared_bytes?,
                tile,
                workspace_bytes,
                tensor_maps: (0..maps)
                    .map(|_| read_tensor_map(input))
                    .collect::<io::Result<_>>()?,
            }))
        }
        _ => Err(ErrorKind::InvalidData.into()),
    }
}

fn read_narrow(input: &mut impl Read) -> io::Result<u32> {
    u32::try_from(read_number(input)?).map_err(|_| ErrorKind::InvalidData.into())
}

fn read_tile(input: &mut impl Read) -> io::Result<Tile> {
    Ok(Tile {
        rows: read_narrow(input)?,
        columns: read_narrow(input)?,
        depth: read_narrow(input)?,
        stages: read_narrow(input)?,
    })
}

fn read_tensor_map(input: &mut impl Read) -> io::Result<TensorMap> {
    let buffer = usize::try_from(read_number(input)?).map_err(|_| ErrorKind::InvalidData)?;
    let [extents, strides, box_extents] = [(); 3].map(|()| read_number(input));
    let (extents, strides, box_extents) = (extents?, strides?, box_extents?);
    Ok(TensorMap {
        buffer,
        extents: (0..extents)
            .map(|_| read_number(input))
            .collect::<io::Result<_>>()?,
        strides: (0..strides)
            .map(|_| read_number(input))
            .collect::<io::Result<_>>()?,
        box_extents: (0..box_extents)
            .map(|_| read_narrow(input))
            .collect::<io::Result<_>>()?,
        swizzle_bytes: read_narrow(input)?,
    })
}

fn write_bytes(output: &mut impl Write, bytes: &[u8]) -> io::Result<()> {
    output.write_all(&(bytes.len() as u64).to_le_bytes())?;
    output.write_all(bytes)
}

/// The length is only believed as far as bytes come.
fn read_bytes(input: &mut impl Read) -> io::Result<Vec<u8>> {
    let length = read_number(input)?;
    let mut bytes = Vec::new();
    input.take(length).read_to_end(&mut bytes)?;
    if (bytes.len() as u64) < length {
        return Err(ErrorKind::UnexpectedEof.into());
    }
    Ok(bytes)
}

fn read_number(input: &mut impl Read) -> io::Result<u64> {
    read_array(input).map(u64::from_le_bytes)
}

fn read_array<const N: usize>(input: &mut impl Read) -> io::Result<[u8; N]> {
    let mut array = [0; N];
    input.read_exact(&mut array)?;
    Ok(array)
}
