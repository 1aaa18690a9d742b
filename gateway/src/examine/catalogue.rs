//! Every check there is.

use tidegate_core::health::Level;

macro_rules! catalogue {
    ($($(#[$doc:meta])* $name:ident = $code:literal, $level:ident, $title:literal, $cause:literal, $next:literal;)*) => {
        /// A check, by its stable code.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub enum Check { $($(#[$doc])* $name),* }

        impl Check {
            /// All of them, in the order in which they are made.
            pub const ALL: &[Check] = &[$(Check::$name),*];

            /// Stable, kebab-case.
            pub fn code(self) -> &'static str { match self { $(Check::$name => $code),* } }
            /// How much it matters when it is not fine.
            pub fn level(self) -> Level { match self { $(Check::$name => Level::$level),* } }
            /// What should be so, in a few words.
            pub fn title(self) -> &'static str { match self { $(Check::$name => $title),* } }
            /// What usually causes it not to be.
            pub fn cause(self) -> &'static str { match self { $(Check::$name => $cause),* } }
            /// What to do then.
            pub fn next_step(self) -> &'static str { match self { $(Check::$name => $next),* } }
        }
    };
}

catalogue! {
    /// No error in it.
    ConfigRuns = "config-runs", Error, "The configuration can run",
        "A key is missing, misspelt or out of range.",
        "`tidegate check` names each with file and line; the gateway goes on with what it had.";
    /// No warning in it.
    ConfigClean = "config-clean", Warning, "The configuration has no warning",
        "Something in it is allowed and probably not meant.",
        "See the detail; change it or leave it.";
    /// Who may write it.
    ConfigProtected = "config-protected", Error, "Only its owner can change the configuration",
        "The folder or a file may be written by everybody on this machine.",
        "chmod o-w on what the detail names.";
    /// Keys and certificates that the configuration names.
    FilesReadable = "files-readable", Error, "The files that the configuration names can be read",
        "A file is missing, or belongs to another user.",
        "Put it there, or have this user read it: chown tidegate: on the file.";
    /// Who may read keys.
    SecretsPrivate = "secrets-private", Error, "Keys and passwords are private",
        "A file with a secret can be read by other users of this machine.",
        "chmod 600 on the file, and consider the secret as known.";
    /// Certificates.
    CertificatesValid = "certificates-valid", Warning, "Certificates are valid for another month",
        "A certificate has ended, ends soon, or is not valid yet because the clock is wrong.",
        "Renew it and replace the file; the gateway's own are renewed at the next start.";
    /// The state folder.
    StateWritable = "state-writable", Error, "The state folder can be written",
        "It belongs to another user, or its file system is mounted read-only, often after an error of the card.",
        "Check owner and mount; after an error of the card, replace it.";
    /// What it is on.
    StateDurable = "state-durable", Error, "The state folder outlives a power cut",
        "It is on a file system in memory or on the network, or on one that does not keep what was flushed.",
        "Set gateway.state_dir to a folder on ext4, f2fs, btrfs or xfs on this machine's own disk.";
    /// Room for the log.
    StateRoom = "state-room", Warning, "There is room for the log",
        "The disk has less room left than the log may still need.",
        "Free space, or lower log.max_size.";
    /// Files that can still be made.
    StateInodes = "state-inodes", Warning, "There is room for files",
        "The file system has hardly an inode left: something makes many small files.",
        "Find and remove them.";
    /// How full the log is.
    LogFill = "log-fill", Warning, "The log is not nearly full",
        "The hub has been away for long.",
        "Restore the link, or give the log more room (log.max_size): the oldest messages go first.";
    /// Damaged files that were kept.
    LogDamage = "log-damage", Warning, "No damaged file lies beside the log",
        "A damaged log was salvaged; the old file was kept.",
        "Replace the card soon. Delete the file when nobody needs it.";
    /// Errors that the file system has counted.
    FileSystemErrors = "file-system-errors", Error, "File systems report no errors",
        "The card or disk has returned damaged data or failed to write.",
        "Back up, then replace the card.";
    /// Life of eMMC.
    FlashLife = "flash-life", Warning, "The flash memory is not worn",
        "Its own estimate says that most of its erase cycles are used.",
        "Plan its replacement; see what writes beside the log.";
    /// Reserve of eMMC.
    FlashReserve = "flash-reserve", Error, "The flash memory has spare blocks",
        "Most of the blocks that replace bad ones are used.",
        "Back up and replace it now.";
    /// Swapping.
    SwapOnFlash = "swap-on-flash", Note, "Memory is not swapped to flash",
        "A swap file or partition is on; it wears the card.",
        "Use zram instead, or switch it off.";
    /// The clock.
    ClockSet = "clock-set", Error, "The clock is set",
        "There is no battery-backed clock and no time server has answered yet.",
        "Allow NTP (UDP port 123) or set the time.";
    /// Whether something keeps it right.
    ClockService = "clock-service", Warning, "A time service keeps the clock right",
        "No time service runs, or it has not reached a server since boot.",
        "Install systemd-timesyncd or chrony, and allow UDP port 123.";
    /// Whether it survives the power.
    ClockBattery = "clock-battery", Note, "The clock goes on without power",
        "This board has no battery-backed clock.",
        "Nothing is lost: times are corrected later. A clock module avoids the wait after a power cut without a network.";
    /// Memory.
    MemoryFree = "memory-free", Warning, "Memory is free",
        "Something on this machine uses nearly all of it.",
        "Find it (`ps aux --sort=-rss`); the kernel ends programs when there is none left.";
    /// Load.
    Load = "load", Warning, "The processor has time",
        "More programs want to run than there are cores.",
        "Find what runs (`top`); polls may be late.";
    /// Heat.
    Temperature = "temperature", Warning, "It is not too hot",
        "The cabinet is hot, or air cannot pass.",
        "Cool it: most boards slow down from 80 °C on, and flash memory ages faster.";
    /// Power.
    PowerSupply = "power-supply", Error, "The power supply is strong enough",
        "The voltage fell too low, now or since boot. It damages SD cards.",
        "Use the board maker's power supply and a short, thick cable.";
    /// Files that may be open.
    OpenFiles = "open-files", Warning, "Enough files may be open",
        "The limit of this user is low.",
        "LimitNOFILE=65536 in the unit, or ulimit -n.";
    /// Root.
    NotRoot = "not-root", Warning, "It does not run as root",
        "It was started by root and without the unit.",
        "Use systemd/tidegate.service: it has a user of its own and needs no more.";
    /// The board's watchdog.
    HardwareWatchdog = "hardware-watchdog", Note, "A hardware watchdog restarts a board that hangs",
        "The board has none, or nobody has switched it on.",
        "RuntimeWatchdogSec=30 in /etc/systemd/system.conf, where /dev/watchdog is there.";
    /// The journal.
    JournalKept = "journal-kept", Note, "The journal outlives a restart",
        "It is in memory only.",
        "mkdir /var/log/journal when what happened before a restart should be known; bound it with SystemMaxUse.";
    /// Serial ports.
    SerialPresent = "serial-present", Error, "The serial ports are there",
        "It is unplugged, or has another name since it was plugged in elsewhere.",
        "`tidegate adapters scan serial` lists the ports; name one by /dev/serial/by-id.";
    /// Rights on them.
    SerialAllowed = "serial-allowed", Error, "The serial ports may be used",
        "This user is not in the group that owns the port.",
        "usermod -aG dialout tidegate, and restart.";
    /// Their names.
    SerialName = "serial-name", Note, "Serial ports have names that stay",
        "The kernel numbers ports as they come: /dev/ttyUSB0 may be another one after a restart.",
        "Name it by /dev/serial/by-id.";
    /// Others on them.
    SerialShared = "serial-shared", Error, "Nobody else uses the serial ports",
        "Another program has it open: a getty, ModemManager, a terminal.",
        "End it, or have it leave the port alone (systemctl disable serial-getty@…).";
    /// Delay of FTDI adapters.
    SerialDelay = "serial-delay", Note, "USB adapters hand bytes on at once",
        "The adapter holds bytes back for some milliseconds; every question takes that much longer.",
        "echo 1 > the latency_timer that the detail names; a udev rule keeps it.";
    /// The radio.
    BluetoothPresent = "bluetooth-present", Error, "The Bluetooth radio is there",
        "It is unplugged, its driver or firmware is missing, or it has another number.",
        "`bluetoothctl list` shows what there is.";
    /// Its switch.
    BluetoothOn = "bluetooth-on", Error, "The Bluetooth radio is not blocked",
        "It is switched off by rfkill or by a switch.",
        "rfkill unblock bluetooth";
    /// The daemon.
    BluetoothService = "bluetooth-service", Error, "D-Bus and bluetoothd run",
        "BlueZ is not installed or not started.",
        "apt install bluez; systemctl enable --now bluetooth";
    /// Cables.
    NetworkLink = "network-link", Error, "A network interface is up",
        "The cable is out, or Wi-Fi is not joined.",
        "Check the cable, or join the Wi-Fi; messages wait in the log.";
    /// Ways out.
    NetworkRoute = "network-route", Warning, "There is a way out of this network",
        "No default route: no router was found.",
        "Check DHCP or the static address; a hub on the same network needs none.";
    /// Names.
    NetworkNames = "network-names", Warning, "Names can be resolved",
        "No name server is configured.",
        "Check /etc/resolv.conf, or write the hub's address instead of its name.";
    /// Whether somebody listens in the clear.
    OpenDoors = "open-doors", Warning, "Devices connect over TLS from other machines",
        "The endpoint also listens without TLS on an address that others can reach: passwords and values can be read on the way.",
        "Set endpoint.tls, and bind endpoint.plain to 127.0.0.1.";
    /// Buses, with --live.
    BusOpens = "bus-opens", Error, "Adapters reach their buses",
        "Device server, serial adapter or radio is off, unplugged or named wrongly.",
        "See the detail; `tidegate read` asks the devices.";
    /// Names of hubs, with --live.
    HubName = "hub-name", Error, "The hub's name is known",
        "It is misspelt, or no name server answers.",
        "Check the name and the network.";
    /// Upstreams, with --live.
    HubAccepts = "hub-accepts", Error, "Upstreams let us in",
        "The hub is not reachable, or does not know this device, key or certificate, or this clock is wrong.",
        "See the detail. Nothing is lost: messages wait in the log.";
    /// Clock against the hub's, with --live.
    ClockSkew = "clock-skew", Error, "The clock agrees with the hub's",
        "This clock is minutes off; tokens made with it are refused.",
        "Set the time, or allow NTP.";
}
