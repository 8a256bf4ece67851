//! Tensor maps that threads change, and the fences by which copies see them (PTX ISA 9.7.9.28, 9.7.13.4, 9.7.13.17).

use super::super::context::{Context, Fault};
use super::super::frame::lanes_of;
use super::super::places::Places;
use super::Outcome;
use super::copy::beyond;
use crate::instruction::{Access, Ordering, TENSORMAP_ALIGNMENT, Tensormap, ThreadScope};
use crate::memory::address::Window;
use crate::tensor_map::{self, MapBytes, TENSOR_MAP_BYTES};

impl Context<'_> {
    pub(super) fn tensormap(
        &mut self,
        strand: usize,
        active: u32,
        instruction: &Tensormap,
    ) -> Result<Outcome, Fault> {
        let frame = self.warp.strands[strand].frame;
        match instruction {
            Tensormap::Replace { map, field, value } => {
                let places =
                    self.map_places(frame, active, map, "replaces a field of the map in")?;
                let values = self.values(frame, value);
                self.need_written(&values, active, "a tensor map's field");
                // It is a weak access of the whole map.
                self.accesses(active, &places, (true, true), Ordering::default());
                for lane in lanes_of(active) {
                    let mut map = self.map_bytes(frame, lane, &places)?;
                    tensor_map::replace(&mut map, *field, values.values[lane as usize]);
                    self.put_map(frame, lane, &places, &map)?;
                }
            }
            Tensormap::CopyFence { to, from, scope } => {
                if active == 0 {
                    return Ok(Outcome::Done);
                }
                if !self.gathers_warp(strand, active)? {
                    return Ok(Outcome::Waits);
                }
                let to = self.map_places(frame, active, to, "copies a tensor map to")?;
                let from = self.map_places(frame, active, from, "copies a tensor map from")?;
                self.accesses(active, &from, (true, false), Ordering::default());
                self.accesses(active, &to, (false, true), Ordering::default());
                for lane in lanes_of(active) {
                    let map = self.map_bytes(frame, lane, &from)?;
                    self.put_map(frame, lane, &to, &map)?;
                }
                self.order.fence_maps(self.agent(), None, *scope);
            }
        }
        Ok(Outcome::Done)
    }

    /// `fence.proxy.tensormap::generic`
    pub(super) fn fence_maps(
        &mut self,
        frame: usize,
        active: u32,
        acquired: Option<&Access>,
        scope: ThreadScope,
    ) -> Result<(), Fault> {
        let warp = self.agent();
        let Some(acquired) = acquired else {
            self.order.fence_maps(warp, None, scope);
            return Ok(());
        };
        let places = self.map_places(frame, active, acquired, "acquires the tensor map in")?;
        for lane in lanes_of(active) {
            if let (Window::Global, map) = places.of(lane) {
                self.order.fence_maps(warp, Some(map), scope);
            }
        }
        self.warp.paths.clear();
        Ok(())
    }

    /// Where each active lane's map is.
    fn map_places(
        &mut self,
        frame: usize,
        active: u32,
        access: &Access,
        what: &'static str,
    ) -> Result<Places, Fault> {
        let places = self.places(frame, active, access, TENSORMAP_ALIGNMENT, what)?;
        let of = |lane: usize| places.of(lane as u32);
        let at = std::array::from_fn(|lane| of(lane).1);
        let windows = std::array::from_fn(|lane| of(lane).0);
        Ok(Places::new(at, windows, active, TENSOR_MAP_BYTES as u32))
    }

    /// The map of a lane.
    pub(super) fn map_bytes(
        &self,
        frame: usize,
        lane: u32,
        places: &Places,
    ) -> Result<MapBytes, Fault> {
        let (window, place) = places.of(lane);
        let mut map = MapBytes::default();
        for (i, (byte, is_written)) in map.values.iter_mut().zip(&mut map.written).enumerate() {
            let at = place + i as u64;
            let read = self.read(frame, lane, window, at, 1);
            let (value, written) =
                read.ok_or_else(|| beyond("reads a tensor map of", at, 128, lane))?;
            (*byte, *is_written) = (value as u8, written);
        }
        Ok(map)
    }

    fn put_map(
        &mut self,
        frame: usize,
        lane: u32,
        places: &Places,
        map: &MapBytes,
    ) -> Result<(), Fault> {
        let (window, place) = places.of(lane);
        for (i, (&byte, &is_written)) in map.values.iter().zip(&map.written).enumerate() {
            let at = place + i as u64;
            let value = (u64::from(byte), is_written);
            self.write(frame, lane, window, at, 1, value)
                .ok_or_else(|| beyond("writes a tensor map to", at, 128, lane))?;
        }
        Ok(())
    }
}
