//! The IoT Hub dialect as text: what both a device and a hub must read and write to the letter.
