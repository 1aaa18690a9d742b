//! Resets the device that a radio is, as if it were unplugged and plugged in again, where the system permits it.
//!
//! A USB device is taken off its bus and put back through `authorized` (Linux kernel, Documentation/usb/authorization.rst). Radios on other
//! buses cannot be reset so. Half a second later it is put back; a process that is killed in between leaves it off until it is unplugged.

use std::{
    io,
    path::{Path, PathBuf},
    time::Duration,
};

use tokio::{fs, time::sleep};

/// Where the kernel shows its devices.
pub(super) const SYSFS: &str = "/sys";
/// Long enough for the kernel to let go of the driver.
const OFF: Duration = Duration::from_millis(500);

/// The `authorized` file of the USB device that `hci0` is.
fn switch(sysfs: &Path, radio: &str) -> io::Result<PathBuf> {
    // The radio's `device` is an interface of the USB device, or the device of another bus.
    let device = sysfs.join("class/bluetooth").join(radio).join("device").canonicalize()?;
    let found =
        device.ancestors().take(2).map(|at| at.join("authorized")).find(|file| file.exists() && file.with_file_name("idVendor").exists());
    found.ok_or_else(|| io::Error::new(io::ErrorKind::Unsupported, "it is no USB device"))
}

/// Off and on again.
pub(super) async fn reset(sysfs: &Path, radio: &str) -> io::Result<()> {
    let switch = switch(sysfs, radio)?;
    fs::write(&switch, "0").await?;
    sleep(OFF).await;
    fs::write(&switch, "1").await
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_usb_radio_is_taken_off_its_bus_and_put_back_and_another_is_left_alone() {
        let sysfs = tempfile::tempdir().expect("a folder");
        let usb = sysfs.path().join("devices/usb1/1-1");
        let uart = sysfs.path().join("devices/serial0-0");
        let class = sysfs.path().join("class/bluetooth");
        for folder in [&usb.join("1-1:1.0"), &uart, &class.join("hci0"), &class.join("hci1")] {
            std::fs::create_dir_all(folder).expect("made");
        }
        std::fs::write(usb.join("idVendor"), "0a12").expect("written");
        std::fs::write(usb.join("authorized"), "1").expect("written");
        std::os::unix::fs::symlink(usb.join("1-1:1.0"), class.join("hci0/device")).expect("a link");
        std::os::unix::fs::symlink(&uart, class.join("hci1/device")).expect("a link");
        let watched = usb.join("authorized");
        let was_off = tokio::spawn(async move {
            while fs::read_to_string(&watched).await.expect("there") != "0" {
                tokio::task::yield_now().await;
            }
        });
        reset(sysfs.path(), "hci0").await.expect("reset");
        was_off.await.expect("it was off");
        assert_eq!(std::fs::read_to_string(usb.join("authorized")).expect("there"), "1");
        assert_eq!(reset(sysfs.path(), "hci1").await.expect_err("no USB").kind(), io::ErrorKind::Unsupported);
        assert_eq!(reset(sysfs.path(), "hci7").await.expect_err("none").kind(), io::ErrorKind::NotFound);
    }
}
