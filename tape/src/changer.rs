//! One changer: what is in which element, and the robot that moves it.

use std::sync::Arc;

use serde::Serialize;

use crate::drive::{Feature, Performed, Support};
use crate::scsi::cdb::{self, DoorMove, ElementDetail, RangeOpcode, Removal};
use crate::scsi::{
    Answer, ChangerCapabilities, Data, Device, ElementAddress, ElementKind, ElementMap, ElementRange,
    ElementStatus, GEOMETRY_PAGE, Inquiry, Readiness, ScsiTransport, Sense, decode_element_status,
    decode_rotates, key,
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

/// What a changer can do, each found out by asking.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize)]
pub struct ChangerFeatures {
    pub opcode_list: Support,
    pub barcodes: Support,
    /// It names the drives in its elements.
    pub device_ids: Support,
    pub capabilities_page: Support,
    pub geometry_page: Support,
    pub exchange: Support,
    pub position_to_element: Support,
    pub range_stock: Support,
    pub removal_lock: Support,
    pub mail_door: Support,
}

impl ChangerFeatures {
    /// As lines to print, each with what its absence costs.
    pub fn lines(&self) -> Vec<Feature> {
        let line = |name, support, without| Feature { name, support, without };
        vec![
            line("list of commands", self.opcode_list, "each is found out by trying it"),
            line("barcodes", self.barcodes, "cartridges are named by their place until their label is read"),
            line("names of drives", self.device_ids, "drives are found by loading a cartridge"),
            line("capabilities page", self.capabilities_page, "moves are found out by trying them"),
            line("transport geometry page", self.geometry_page, "nothing"),
            line("EXCHANGE MEDIUM", self.exchange, "two moves take its place"),
            line("POSITION TO ELEMENT", self.position_to_element, "the robot isn't sent ahead"),
            line(
                "taking stock of a range",
                self.range_stock,
                "the whole library is looked at, which takes longer",
            ),
            line("mail slot lock", self.removal_lock, "the mail slot can be opened at any time"),
            line("mail slot door", self.mail_door, "a person opens it"),
        ]
    }
}

/// A changer.
#[derive(Debug)]
pub struct Changer {
    device: Device,
    inquiry: Inquiry,
    serial: Option<String>,
    map: ElementMap,
    capabilities: Option<ChangerCapabilities>,
    ids: DeviceIdWay,
    features: ChangerFeatures,
    range: Option<RangeOpcode>,
}

impl Changer {
    /// Asks the device who it is and where its elements are.
    pub fn open(
        transport: Box<dyn ScsiTransport + Send>,
        waiter: Arc<dyn Waiter>,
    ) -> Result<Changer, TapeError> {
        let mut device = Device::new(transport, waiter);
        let (inquiry, serial) = device.introduce(Inquiry::CHANGER, "changer")?;
        device.wait_ready().map_err(|error| explain(error, None))?;
        let map = device.mode_page(ElementMap::PAGE, ElementMap::decode)?;
        let map = map.ok_or_else(|| no_page(&device, "element address page, which the changer refuses"))?;
        let capabilities = device.mode_page(ChangerCapabilities::PAGE, ChangerCapabilities::decode)?;
        let geometry = device.mode_page(GEOMETRY_PAGE, decode_rotates)?;
        let features = ChangerFeatures {
            capabilities_page: Support::of(capabilities.is_some()),
            geometry_page: Support::of(geometry.is_some()),
            ..ChangerFeatures::default()
        };
        let (ids, range) = (DeviceIdWay::WithBarcodes, Some(RangeOpcode::Current));
        Ok(Changer { device, inquiry, serial, map, capabilities, ids, features, range })
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
    pub fn features(&self) -> ChangerFeatures {
        self.features
    }
    pub fn capabilities(&self) -> Option<&ChangerCapabilities> {
        self.capabilities.as_ref()
    }

    /// Unit attentions since this was last asked: resets, doors, mail slots used.
    pub fn take_told(&mut self) -> Vec<Sense> {
        self.device.take_told()
    }

    /// Asks once whether the robot can move.
    pub fn readiness(&mut self) -> Result<Readiness, TapeError> {
        self.device.readiness()
    }

    /// Finds out what the changer can do, as far as that moves nothing.
    pub fn probe(&mut self) -> Result<ChangerFeatures, TapeError> {
        let transport = self.map.transport.first;
        let listed = self.device.lists(&cdb::test_unit_ready())?;
        self.features.opcode_list = Support::of(listed.is_some());
        let nowhere = ElementAddress::default();
        let range = cdb::initialize_element_status_with_range(RangeOpcode::Current, nowhere, 0);
        let exchange = cdb::exchange_medium(transport, nowhere, nowhere, nowhere);
        let position = cdb::position_to_element(transport, nowhere);
        let door = cdb::open_close_mail_slot(nowhere, DoorMove::Close);
        for (command, feature) in [
            (range, &mut self.features.range_stock),
            (exchange, &mut self.features.exchange),
            (position, &mut self.features.position_to_element),
            (door, &mut self.features.mail_door),
        ] {
            if let (Support::Unknown, Some(known)) = (*feature, self.device.lists(&command)?) {
                *feature = Support::of(known);
            }
        }
        self.lock(Removal::Allow)?;
        self.status(ElementKind::Slot)?;
        self.status(ElementKind::Drive)?;
        Ok(self.features)
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
        let known = self.device.done_if_known(&cdb::initialize_element_status(), Data::None);
        if known.map_err(|error| explain(error, None))?.is_none() {
            tracing::warn!(changer = self.name(), "the changer doesn't take stock when asked");
        }
        self.device.wait_ready()
    }

    /// Makes the changer look at some places again; at all of them if it can't do it by range.
    pub fn take_stock_of(&mut self, range: ElementRange) -> Result<(), TapeError> {
        while let Some(opcode) = self.range {
            let command = cdb::initialize_element_status_with_range(opcode, range.first, range.count);
            let known = self.device.done_if_known(&command, Data::None)?;
            if known.is_some() {
                self.features.range_stock = Support::Yes;
                return self.device.wait_ready();
            }
            self.range = match opcode {
                RangeOpcode::Current => Some(RangeOpcode::Older),
                RangeOpcode::Older => None,
            };
        }
        self.features.range_stock = Support::No;
        self.take_stock()
    }

    /// Moves what is in `from` to `to`.
    pub fn move_medium(&mut self, from: ElementAddress, to: ElementAddress) -> Result<(), TapeError> {
        tracing::info!(changer = self.name(), %from, %to, "moving a cartridge");
        self.device.wait_ready().map_err(|error| explain(error, Some((from, to))))?;
        let moved = self.device.done(&cdb::move_medium(self.map.transport.first, from, to), Data::None);
        moved.map(drop).map_err(|error| explain(error, Some((from, to))))
    }

    /// Moves what is in `from` to `to`, and what was there to `second`, in one go where the robot can.
    pub fn exchange(
        &mut self,
        from: ElementAddress,
        to: ElementAddress,
        second: ElementAddress,
    ) -> Result<Performed, TapeError> {
        let refused =
            self.capabilities.is_some_and(|can| !can.exchanges(ElementKind::Slot, ElementKind::Drive));
        if refused || self.features.exchange == Support::No {
            self.features.exchange = Support::No;
            return Ok(Performed::Unsupported);
        }
        let command = cdb::exchange_medium(self.map.transport.first, from, to, second);
        let known = self.device.done_if_known(&command, Data::None);
        let known = known.map_err(|error| explain(error, Some((from, to))))?;
        self.features.exchange = Support::of(known.is_some());
        Ok(Performed::from_known(known))
    }

    /// Sends the robot ahead to an element.
    pub fn position_to(&mut self, to: ElementAddress) -> Result<Performed, TapeError> {
        let command = cdb::position_to_element(self.map.transport.first, to);
        let known = self.device.done_if_known(&command, Data::None)?;
        self.features.position_to_element = Support::of(known.is_some());
        Ok(Performed::from_known(known))
    }

    /// Locks or frees the mail slot.
    pub fn lock(&mut self, removal: Removal) -> Result<Performed, TapeError> {
        let known = self.device.done_if_known(&cdb::prevent_allow_removal(removal), Data::None)?;
        self.features.removal_lock = Support::of(known.is_some());
        Ok(Performed::from_known(known))
    }

    /// Opens or closes a mail slot that moves by itself.
    pub fn move_mail_door(&mut self, at: ElementAddress, door: DoorMove) -> Result<Performed, TapeError> {
        let known = self.device.done_if_known(&cdb::open_close_mail_slot(at, door), Data::None)?;
        self.features.mail_door = Support::of(known.is_some());
        Ok(Performed::from_known(known))
    }

    pub(crate) fn device(&self) -> &Device {
        &self.device
    }

    fn status_of(
        &mut self,
        kind: ElementKind,
        first: ElementAddress,
        count: u16,
    ) -> Result<Vec<ElementStatus>, TapeError> {
        if kind == ElementKind::Drive && self.ids == DeviceIdWay::WithBarcodes {
            let detail = ElementDetail::BarcodesAndDeviceIds;
            if let Some(elements) = self.ask(kind, first, count, detail)? {
                self.features.device_ids = Support::of(elements.iter().any(|one| one.device_id.is_some()));
                return Ok(elements);
            }
            self.ids = DeviceIdWay::Apart;
        }
        let mut elements = self.ask_plain(kind, first, count)?;
        if kind == ElementKind::Drive && self.ids == DeviceIdWay::Apart {
            match self.ask(kind, first, count, ElementDetail::DeviceIds)? {
                Some(identified) => {
                    self.features.device_ids =
                        Support::of(identified.iter().any(|one| one.device_id.is_some()));
                    add_device_ids(&mut elements, identified);
                }
                None => {
                    tracing::warn!(changer = self.name(), "the changer doesn't name its drives");
                    self.features.device_ids = Support::No;
                    self.ids = DeviceIdWay::Never;
                }
            }
        }
        Ok(elements)
    }

    /// With barcodes, or where the changer has no reader without.
    fn ask_plain(
        &mut self,
        kind: ElementKind,
        first: ElementAddress,
        count: u16,
    ) -> Result<Vec<ElementStatus>, TapeError> {
        if self.features.barcodes != Support::No {
            if let Some(elements) = self.ask(kind, first, count, ElementDetail::Barcodes)? {
                let seen = elements.iter().any(|element| element.barcode.is_some());
                if seen {
                    self.features.barcodes = Support::Yes;
                }
                return Ok(elements);
            }
            if kind == ElementKind::Slot {
                self.features.barcodes = Support::No;
            }
        }
        let plain = self.ask(kind, first, count, ElementDetail::Nothing)?;
        plain.ok_or_else(|| no_page(&self.device, "READ ELEMENT STATUS, which the changer refuses"))
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
            Answer::Check { sense, .. } if sense.is_done() => {}
            Answer::Check { sense, .. } => {
                return Err(explain(self.device.sense_error(&command, sense), None));
            }
        }
        let asked = u32::from(first.0)..u32::from(first.0) + u32::from(count);
        let elements = decode_element_status(&page).map(|mut elements| {
            elements.retain(|element| asked.contains(&u32::from(element.address.0)));
            elements
        });
        elements.map(Some).map_err(|source| TapeError::Page { device: self.name().to_owned(), source })
    }
}

fn no_page(device: &Device, what: &'static str) -> TapeError {
    let source = coffer_format::DecodeError::Invalid { what };
    TapeError::Page { device: device.name().to_owned(), source }
}

/// What a robot's sense means to a person, for a move between these places.
fn explain(error: TapeError, places: Option<(ElementAddress, ElementAddress)>) -> TapeError {
    let TapeError::Sense { device, command, sense } = error else { return error };
    let is_place = matches!((sense.asc, sense.ascq), (0x21, 0x01) | (0x24, 0x00) | (0x3b, 0x0d | 0x0e));
    match (sense.key, places) {
        _ if sense.needs_a_hand() => TapeError::DoorOpen { device, sense },
        (key::ILLEGAL_REQUEST, Some((from, to))) if is_place => {
            TapeError::OutOfStep { device, from, to, sense }
        }
        (key::HARDWARE_ERROR, _) => TapeError::RobotStuck { device, sense },
        _ => TapeError::Sense { device, command, sense },
    }
}

/// Joins two answers about the same drives.
fn add_device_ids(elements: &mut [ElementStatus], identified: Vec<ElementStatus>) {
    for one in identified {
        if let Some(element) = elements.iter_mut().find(|element| element.address == one.address) {
            element.device_id = one.device_id;
        }
    }
}
