//! Commands to a real device, over Linux's SG_IO ioctl on `/dev/sgN` (version 3 of the sg interface,
//! `include/scsi/sg.h`).
#![allow(unsafe_code)]

use std::fs::{File, OpenOptions};
use std::io;
use std::os::fd::AsRawFd;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use super::{Data, ScsiReply, ScsiTransport};

const SG_IO: libc::c_ulong = 0x2285;
const SG_DXFER_NONE: i32 = -1;
const SG_DXFER_TO_DEV: i32 = -2;
const SG_DXFER_FROM_DEV: i32 = -3;
const SENSE_LEN: usize = 252;

/// `struct sg_io_hdr`.
#[repr(C)]
struct SgIoHeader {
    interface_id: i32,
    dxfer_direction: i32,
    cmd_len: u8,
    mx_sb_len: u8,
    iovec_count: u16,
    dxfer_len: u32,
    dxferp: *mut libc::c_void,
    cmdp: *const u8,
    sbp: *mut u8,
    timeout_ms: u32,
    flags: u32,
    pack_id: i32,
    usr_ptr: *mut libc::c_void,
    status: u8,
    masked_status: u8,
    msg_status: u8,
    sb_len_wr: u8,
    host_status: u16,
    driver_status: u16,
    resid: i32,
    duration: u32,
    info: u32,
}

/// One `/dev/sgN`, held exclusively.
#[derive(Debug)]
pub struct SgIo {
    file: File,
    path: PathBuf,
}

impl SgIo {
    /// Opens the device for this program alone. `EBUSY` if another program holds it exclusively.
    pub fn open(path: impl Into<PathBuf>) -> io::Result<SgIo> {
        let path = path.into();
        let flags = libc::O_NONBLOCK | libc::O_EXCL | libc::O_CLOEXEC;
        let file = OpenOptions::new().read(true).write(true).custom_flags(flags).open(&path)?;
        Ok(SgIo { file, path })
    }

    pub fn path(&self) -> &Path {
        &self.path
    }
}

impl ScsiTransport for SgIo {
    fn name(&self) -> String {
        self.path.display().to_string()
    }

    fn execute(&mut self, cdb: &[u8], data: Data<'_>, timeout_ms: u32) -> io::Result<ScsiReply> {
        let mut sense = [0u8; SENSE_LEN];
        let too_long = |_| io::Error::from(io::ErrorKind::InvalidInput);
        let dxfer_len = u32::try_from(data.len()).map_err(too_long)?;
        let (dxfer_direction, dxferp) = match data {
            Data::None => (SG_DXFER_NONE, std::ptr::null_mut()),
            Data::In(buffer) => (SG_DXFER_FROM_DEV, buffer.as_mut_ptr().cast()),
            Data::Out(buffer) => (SG_DXFER_TO_DEV, buffer.as_ptr().cast_mut().cast()),
        };
        let mut header = SgIoHeader {
            interface_id: i32::from(b'S'),
            dxfer_direction,
            cmd_len: u8::try_from(cdb.len()).map_err(too_long)?,
            mx_sb_len: SENSE_LEN as u8,
            iovec_count: 0,
            dxfer_len,
            dxferp,
            cmdp: cdb.as_ptr(),
            sbp: sense.as_mut_ptr(),
            timeout_ms,
            flags: 0,
            pack_id: 0,
            usr_ptr: std::ptr::null_mut(),
            status: 0,
            masked_status: 0,
            msg_status: 0,
            sb_len_wr: 0,
            host_status: 0,
            driver_status: 0,
            resid: 0,
            duration: 0,
            info: 0,
        };
        // SAFETY: `header` is a whole sg_io_hdr; its pointers are to `cdb`, `data` and `sense`, which outlive the
        // call, with their true lengths beside them; the kernel writes only to `sense` and to a `Data::In`
        // buffer, both borrowed mutably here, and the call returns after the device is done with them.
        let result = unsafe { libc::ioctl(self.file.as_raw_fd(), SG_IO as _, &mut header) };
        if result < 0 {
            return Err(io::Error::last_os_error());
        }
        Ok(ScsiReply {
            status: header.status,
            sense: sense[..usize::from(header.sb_len_wr).min(SENSE_LEN)].to_vec(),
            residual: header.resid.into(),
            host_status: header.host_status,
            driver_status: header.driver_status,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_header_has_the_kernels_size() {
        // sizeof(struct sg_io_hdr) on 64-bit Linux.
        #[cfg(target_pointer_width = "64")]
        assert_eq!(std::mem::size_of::<SgIoHeader>(), 88);
    }

    #[test]
    fn a_file_that_is_no_device_is_refused() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let mut transport = SgIo::open(file.path()).unwrap();
        assert!(transport.execute(&[0; 6], Data::None, 1000).is_err());
    }
}
