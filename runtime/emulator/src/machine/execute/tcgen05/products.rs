//! Products and copies in tensor memory, as they begin and as they are committed.

use super::super::super::Lanes;
use super::super::super::asynchronous::{Begun, NoOperation, Operation, Signal};
use super::super::super::context::{Context, Fault};
use super::super::super::frame::lanes_of;
use super::super::super::order::Channel;
use super::super::super::tensor_memory::{Batch, FromA, Multiplying, Step, What};
use super::{impossible, misuse};
use crate::finding::FindingKind;
use crate::instruction::{Access, Location, MultiplyTensor, OperandA, Source, Space};
use crate::tcgen05::Cell;
use crate::tcgen05::datapath::Layout;
use crate::tcgen05::instruction_descriptor::InstructionDescriptor;
use crate::tcgen05::shared_descriptor::SharedDescriptor;
use std::rc::Rc;

impl Context<'_> {
    pub(super) fn begin(&mut self, frame: usize, lane: u32, what: What) {
        let warp = self.agent();
        let step = Step {
            origin: self.origin(frame, lane),
            knows: self.order.snapshot(warp),
            what,
        };
        let key = (self.warp.index, lane);
        let pipes = &mut self.ctas[self.rank].tensor.pipes;
        pipes.entry(key).or_default().begun.push(step);
    }

    pub(super) fn begin_products(
        &mut self,
        frame: usize,
        active: u32,
        multiply: &MultiplyTensor,
    ) -> Result<(), Fault> {
        let form = multiply.form;
        self.is_of_group(form.pair, active.trailing_zeros())?;
        let d = self.addresses(frame, &multiply.d, active);
        let descriptors = self.values(frame, &multiply.descriptor);
        self.need_written(&descriptors, active, "an instruction descriptor");
        let a = match &multiply.a {
            OperandA::Shared(source) => self.values(frame, source),
            OperandA::Tensor(location) => self.addresses(frame, location, active),
        };
        let b = self.values(frame, &multiply.b);
        for values in [&a, &b] {
            self.need_written(values, active, "a shared-memory descriptor");
        }
        let adds = self.values(frame, &multiply.adds);
        self.need_written(&adds, active, "whether a product adds to what is there");
        let scales = multiply
            .scales
            .as_ref()
            .map(|(a, b)| [a, b].map(|location| self.addresses(frame, location, active)));
        let disabled: Vec<Lanes> = multiply
            .disabled
            .iter()
            .map(|source| self.values(frame, source))
            .collect();
        for masks in &disabled {
            self.need_written(masks, active, "a mask of lanes of D");
        }
        for lane in lanes_of(active) {
            let i = lane as usize;
            let failed = |reason| impossible(reason, lane);
            let descriptor =
                InstructionDescriptor::new(descriptors.values[i] as u32, form).map_err(failed)?;
            let d = Cell::of(d.values[i] as u32);
            if !descriptor.layout.begins_at(d.lane) {
                return Err(misuse(
                    format!(
                        "holds a D of M = {} from lane {} on, where none begins",
                        descriptor.m, d.lane
                    ),
                    lane,
                ));
            }
            if descriptor.layout == Layout::Pair128
                && (form.a_in_tensor_memory || form.kind.is_scaled())
            {
                let reason = "'tcgen05.mma' of a pair with M = 128 and with A or scales in tensor memory is not modelled";
                let kind = FindingKind::Refused {
                    reason: reason.into(),
                };
                return Err(Fault { kind, lane });
            }
            let a = if form.a_in_tensor_memory {
                FromA::Tensor(Cell::of(a.values[i] as u32))
            } else {
                FromA::Shared(SharedDescriptor::new(a.values[i]).map_err(failed)?)
            };
            let of_scales = |values: &Lanes| {
                // The two highest bits are a byte's number for those who keep it there; the lanes are below.
                Cell::of(values.values[i] as u32 & 0x3fff_ffff)
            };
            let product = Multiplying {
                descriptor,
                ranks: self.group(form.pair, lane)?,
                d,
                a,
                b: SharedDescriptor::new(b.values[i]).map_err(failed)?,
                scales: scales.as_ref().map(|[a, b]| (of_scales(a), of_scales(b))),
                disabled: disabled.iter().map(|mask| mask.values[i] as u32).collect(),
                adds: adds.values[i] & 1 == 1,
                shift: multiply.shift,
                is_ring: self.program.is_ring,
            };
            self.begin(frame, lane, What::Multiply(Box::new(product)));
        }
        Ok(())
    }

    /// Arrivals when all that a thread began is done.
    pub(super) fn commit_products(
        &mut self,
        frame: usize,
        active: u32,
        (object, generic): (&Location, bool),
        mask: Option<&Source>,
    ) -> Result<(), Fault> {
        let access = Access {
            space: if generic {
                Space::Generic
            } else {
                Space::Shared
            },
            location: object.clone(),
            bytes: 8,
        };
        let objects = self.objects(frame, active, &access, false)?;
        let masks = mask.map(|mask| self.values(frame, mask));
        for lane in lanes_of(active) {
            let (rank, place) = objects[lane as usize];
            let ranks: Vec<u32> = match &masks {
                None => vec![rank],
                Some(masks) => {
                    let mask = masks.values[lane as usize] as u16;
                    (0..16).filter(|rank| mask >> rank & 1 == 1).collect()
                }
            };
            if let Some(&missing) = ranks.iter().find(|&&rank| rank as usize >= self.ctas.len()) {
                return Err(misuse(
                    format!("is committed to CTA {missing}, which the cluster does not have"),
                    lane,
                ));
            }
            self.names_objects(&ranks, place, lane);
            let warp = self.agent();
            let mut knows = self.order.snapshot(warp);
            let channel = self.order.channel(Channel::Tensor(warp, lane));
            let key = (self.warp.index, lane);
            let pipe = self.ctas[self.rank].tensor.pipes.entry(key).or_default();
            pipe.commits += 1;
            let stamp = (channel, pipe.commits);
            let mut steps = std::mem::take(&mut pipe.begun);
            for step in &mut steps {
                step.knows.learn(stamp.0, stamp.1);
            }
            knows.learn(stamp.0, stamp.1);
            let knows = Rc::new(knows);
            let mut after: Vec<u64> = pipe.last.into_iter().collect();
            let origin = self.origin(frame, lane);
            let mut operation: Box<dyn Operation> = Box::new(Batch { steps, stamp });
            for rank in ranks {
                let begun = Begun {
                    after: after.clone(),
                    origin,
                    operation,
                    signal: Signal::Arrival {
                        rank,
                        place,
                        count: 1,
                    },
                    knows: Rc::clone(&knows),
                    is_asynchronous: false,
                };
                let number = self.queue.push(begun);
                // What is done is done once; other arrivals come after it.
                operation = Box::new(NoOperation);
                after = vec![number];
            }
            if let [last] = after[..]
                && let Some(pipe) = self.ctas[self.rank].tensor.pipes.get_mut(&key)
            {
                pipe.last = Some(last);
            }
        }
        Ok(())
    }
}
