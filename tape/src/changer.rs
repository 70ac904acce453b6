//! One changer: what is in which element, and the robot that moves it.

use std::sync::Arc;

use crate::scsi::cdb::{self, ElementDetail};
use crate::scsi::{
    Answer, Data, Device, ElementAddress, ElementKind, ElementMap, ElementRange, ElementStatus, Inquiry,
    ScsiTransport, decode_element_status, decode_serial, key,
};
use crate::{TapeError, Waiter};

/// Some changers take a larger allocation length for a negative one.
const STATUS_ALLOC: u16 = 0xffff;
/// Elements asked for at once: their descriptors fit [`STATUS_ALLOC`].
const STATUS_ELEMENTS_MAX: u16 = 256;

/// How a changer tells which drive is in which element.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum DeviceIdWay {
    WithBarcodes,
    Apart,
    Never,
}

/// A changer.
#[derive(Debug)]
pub struct Changer {
    device: Device,
    inquiry: Inquiry,
    serial: Option<String>,
    map: ElementMap,
    ids: DeviceIdWay,
}

impl Changer {
    /// Asks the device who it is and where its elements are.
    pub fn open(
        transport: Box<dyn ScsiTransport + Send>,
        waiter: Arc<dyn Waiter>,
    ) -> Result<Changer, TapeError> {
        let mut device = Device::new(transport, waiter);
        let inquiry = device.inquiry()?;
        if inquiry.device_type != Inquiry::CHANGER {
            return Err(TapeError::WrongDevice { device: device.name().to_owned(), wanted: "changer" });
        }
        let serial = device.vital_page(0x80)?.and_then(|page| decode_serial(&page).ok());
        device.wait_ready()?;
        let map = ask_map(&mut device)?;
        Ok(Changer { device, inquiry, serial, map, ids: DeviceIdWay::WithBarcodes })
    }

    pub fn name(&self) -> &str {
        self.device.name()
    }
    pub fn inquiry(&self) -> &Inquiry {
        &self.inquiry
    }
    pub fn serial(&self) -> Option<&str> {
        self.serial.as_deref()
    }
    pub fn elements(&self) -> &ElementMap {
        &self.map
    }

    /// State of all elements of one kind.
    pub fn status(&mut self, kind: ElementKind) -> Result<Vec<ElementStatus>, TapeError> {
        let ElementRange { first, count } = self.map.range(kind);
        let mut elements = Vec::with_capacity(count.into());
        for start in (0..count).step_by(STATUS_ELEMENTS_MAX.into()) {
            let from = ElementAddress(first.0.saturating_add(start));
            elements.extend(self.status_of(kind, from, (count - start).min(STATUS_ELEMENTS_MAX))?);
        }
        elements.retain(|element| element.kind == kind);
        Ok(elements)
    }

    /// Makes the changer look at every place again: minutes.
    pub fn take_stock(&mut self) -> Result<(), TapeError> {
        self.device.done(&cdb::initialize_element_status(), Data::None)?;
        self.device.wait_ready()
    }

    /// Moves what is in `from` to `to`.
    pub fn move_medium(&mut self, from: ElementAddress, to: ElementAddress) -> Result<(), TapeError> {
        tracing::info!(changer = self.name(), %from, %to, "moving a cartridge");
        self.device.done(&cdb::move_medium(self.map.transport.first, from, to), Data::None).map(drop)
    }

    fn status_of(
        &mut self,
        kind: ElementKind,
        first: ElementAddress,
        count: u16,
    ) -> Result<Vec<ElementStatus>, TapeError> {
        if kind != ElementKind::Drive {
            return self.ask(kind, first, count, ElementDetail::Barcodes)?.ok_or_else(|| self.no_status());
        }
        if self.ids == DeviceIdWay::WithBarcodes {
            if let Some(elements) = self.ask(kind, first, count, ElementDetail::BarcodesAndDeviceIds)? {
                return Ok(elements);
            }
            self.ids = DeviceIdWay::Apart;
        }
        let barcodes = self.ask(kind, first, count, ElementDetail::Barcodes)?;
        let mut elements = barcodes.ok_or_else(|| self.no_status())?;
        if self.ids == DeviceIdWay::Apart {
            match self.ask(kind, first, count, ElementDetail::DeviceIds)? {
                Some(identified) => add_device_ids(&mut elements, identified),
                None => {
                    tracing::warn!(changer = self.name(), "the changer doesn't name its drives");
                    self.ids = DeviceIdWay::Never;
                }
            }
        }
        Ok(elements)
    }

    /// One READ ELEMENT STATUS; `None` if the changer doesn't do it with this detail.
    fn ask(
        &mut self,
        kind: ElementKind,
        first: ElementAddress,
        count: u16,
        detail: ElementDetail,
    ) -> Result<Option<Vec<ElementStatus>>, TapeError> {
        let mut page = vec![0; STATUS_ALLOC.into()];
        let command = cdb::read_element_status(kind, first, count, detail, STATUS_ALLOC);
        match self.device.run(&command, Data::In(&mut page))? {
            // The report says its own length, and the buffer was zero before: a residual that claims too much would
            // cost the last element.
            Answer::Good { .. } => {}
            Answer::Check { sense, .. } if sense.key == key::ILLEGAL_REQUEST => return Ok(None),
            Answer::Check { sense, .. } => return Err(self.device.sense_error(&command, sense)),
        }
        let asked = u32::from(first.0)..u32::from(first.0) + u32::from(count);
        let elements = decode_element_status(&page).map(|mut elements| {
            elements.retain(|element| asked.contains(&u32::from(element.address.0)));
            elements
        });
        elements.map(Some).map_err(|source| TapeError::Page { device: self.name().to_owned(), source })
    }

    fn no_status(&self) -> TapeError {
        let what = "READ ELEMENT STATUS, which the changer refuses";
        TapeError::Page {
            device: self.name().to_owned(),
            source: coffer_format::DecodeError::Invalid { what },
        }
    }
}

fn ask_map(device: &mut Device) -> Result<ElementMap, TapeError> {
    const ALLOC: u8 = 0xfc;
    let mut page = [0; ALLOC as usize];
    let filled = device.done(&cdb::mode_sense(ElementMap::PAGE, ALLOC), Data::In(&mut page))?;
    ElementMap::decode(&page[..filled])
        .map_err(|source| TapeError::Page { device: device.name().to_owned(), source })
}

/// Joins two answers about the same drives.
fn add_device_ids(elements: &mut [ElementStatus], identified: Vec<ElementStatus>) {
    for one in identified {
        if let Some(element) = elements.iter_mut().find(|element| element.address == one.address) {
            element.device_id = one.device_id;
        }
    }
}
