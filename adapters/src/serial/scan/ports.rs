//! The ports of this machine, from the folders in which the kernel and udev keep them.

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
};

use serde_json::Value as Json;

/// Ports listed: more are a machine that does something else.
const MOST_PORTS: usize = 256;
/// Holders named for one port.
const MOST_HOLDERS: usize = 8;

/// A serial port.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct PortFound {
    /// Such as `/dev/ttyUSB0`.
    pub(super) path: String,
    /// By which it stays the same wherever it is plugged in.
    pub(super) by_id: Option<String>,
    /// By the socket that it is plugged into.
    pub(super) by_path: Option<String>,
    pub(super) driver: String,
    /// Maker, product and serial number, where USB tells.
    pub(super) product: Option<String>,
    /// Programs that have it open, as far as we may see.
    pub(super) held_by: Vec<String>,
}

impl PortFound {
    /// The name that stays.
    pub(super) fn best(&self) -> &str {
        self.by_id.as_ref().or(self.by_path.as_ref()).unwrap_or(&self.path)
    }

    pub(super) fn facts(&self) -> Vec<(String, Json)> {
        let optional =
            |name: &str, text: &Option<String>| text.iter().map(|text| (name.to_owned(), Json::from(text.as_str()))).collect::<Vec<_>>();
        let mut facts = optional("by-id", &self.by_id);
        facts.extend(optional("by-path", &self.by_path));
        facts.push(("driver".to_owned(), self.driver.as_str().into()));
        facts.extend(optional("product", &self.product));
        facts.push(("held by".to_owned(), if self.held_by.is_empty() { "nobody".into() } else { self.held_by.join(", ").into() }));
        facts
    }
}

/// Every port with hardware behind it; `root` is `/` but in tests.
pub(super) fn list(root: &str) -> Vec<PortFound> {
    let root = Path::new(root);
    let links = |folder: &str| {
        names(&root.join(folder)).into_iter().filter_map(|path| Some((path.canonicalize().ok()?, path))).collect::<BTreeMap<_, _>>()
    };
    let (by_id, by_path) = (links("dev/serial/by-id"), links("dev/serial/by-path"));
    let outside = |path: &Path| path.strip_prefix(root).map_or_else(|_| path.display().to_string(), |path| format!("/{}", path.display()));
    let mut ports = Vec::new();
    for class in names(&root.join("sys/class/tty")) {
        let Some(name) = class.file_name().map(|name| name.to_string_lossy().into_owned()) else { continue };
        let (device, driver) = (class.join("device"), link_name(&class.join("device/driver")));
        let path = root.join("dev").join(&name);
        // Consoles have no device, and the PC's four ports are listed whether they are there or not: type 0 is not.
        let is_there = fs::read_to_string(class.join("type")).map_or(true, |kind| kind.trim() != "0");
        let (true, Some(driver), true) = (device.exists() && path.exists(), driver, is_there) else { continue };
        let real = path.canonicalize().unwrap_or_else(|_| path.clone());
        let held_by = holders_in(root, &real);
        ports.push(PortFound {
            path: outside(&path),
            by_id: by_id.get(&real).map(|path| outside(path)),
            by_path: by_path.get(&real).map(|path| outside(path)),
            driver,
            product: product(&device),
            held_by,
        });
        if ports.len() == MOST_PORTS {
            break;
        }
    }
    ports
}

/// In order; none when the folder is not there.
fn names(folder: &Path) -> Vec<PathBuf> {
    let mut names: Vec<_> = fs::read_dir(folder).into_iter().flatten().filter_map(|entry| Some(entry.ok()?.path())).collect();
    names.sort();
    names
}

fn link_name(link: &Path) -> Option<String> {
    let target = fs::canonicalize(link).ok()?;
    Some(target.file_name()?.to_string_lossy().into_owned())
}

/// USB keeps the names some folders above the port.
fn product(device: &Path) -> Option<String> {
    let mut at = device.canonicalize().ok()?;
    for _ in 0..5 {
        let read = |name: &str| fs::read_to_string(at.join(name)).ok().map(|text| text.trim().chars().take(80).collect::<String>());
        if let Some(product) = read("product") {
            let parts = [read("manufacturer"), Some(product), read("serial")];
            return Some(parts.into_iter().flatten().collect::<Vec<_>>().join(" "));
        }
        if !at.pop() {
            return None;
        }
    }
    None
}

/// Programs that have the port open, as far as this user may see.
pub(super) fn holders(root: &str, port: &str) -> Vec<String> {
    let real = fs::canonicalize(port).unwrap_or_else(|_| PathBuf::from(port));
    holders_in(Path::new(root), &real)
}

pub(super) fn holders_in(root: &Path, real: &Path) -> Vec<String> {
    let mut holders = Vec::new();
    for process in names(&root.join("proc")) {
        let Some(id) = process.file_name().and_then(|name| name.to_str()).and_then(|name| name.parse::<u32>().ok()) else { continue };
        let holds = names(&process.join("fd")).iter().any(|fd| fs::read_link(fd).is_ok_and(|target| target == real));
        if holds && holders.len() < MOST_HOLDERS {
            let name = fs::read_to_string(process.join("comm")).unwrap_or_default();
            holders.push(format!("{} (process {id})", name.trim()));
        }
    }
    holders
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    #[test]
    fn a_usb_port_is_found_with_its_names_driver_product_and_holder() {
        let root = tempfile::tempdir().expect("a folder");
        let at = |path: &str| root.path().join(path);
        for folder in ["dev/serial/by-id", "sys/class/tty", "sys/devices/usb1/1-1/1-1:1.0/ttyUSB0", "sys/drivers/ftdi_sio", "proc/42/fd"] {
            fs::create_dir_all(at(folder)).expect("made");
        }
        fs::write(at("dev/ttyUSB0"), "").expect("made");
        symlink("../../ttyUSB0", at("dev/serial/by-id/usb-ACME_Scale_0001-if00-port0")).expect("made");
        fs::create_dir_all(at("sys/class/tty/ttyUSB0")).expect("made");
        fs::create_dir_all(at("sys/class/tty/tty0")).expect("a console, which has no device");
        symlink(at("sys/devices/usb1/1-1/1-1:1.0/ttyUSB0"), at("sys/class/tty/ttyUSB0/device")).expect("made");
        symlink(at("sys/drivers/ftdi_sio"), at("sys/devices/usb1/1-1/1-1:1.0/ttyUSB0/driver")).expect("made");
        for (name, text) in [("manufacturer", "ACME\n"), ("product", "Scale\n"), ("serial", "0001\n")] {
            fs::write(at("sys/devices/usb1/1-1").join(name), text).expect("made");
        }
        fs::write(at("proc/42/comm"), "minicom\n").expect("made");
        symlink(at("dev/ttyUSB0").canonicalize().expect("there"), at("proc/42/fd/3")).expect("made");
        let found = list(&root.path().canonicalize().expect("there").display().to_string());
        let expected = PortFound {
            path: "/dev/ttyUSB0".to_owned(),
            by_id: Some("/dev/serial/by-id/usb-ACME_Scale_0001-if00-port0".to_owned()),
            by_path: None,
            driver: "ftdi_sio".to_owned(),
            product: Some("ACME Scale 0001".to_owned()),
            held_by: vec!["minicom (process 42)".to_owned()],
        };
        assert_eq!(found, [expected]);
        assert_eq!(list("/nowhere-at-all"), []);
    }
}
