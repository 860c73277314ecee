//! Functions that append one value or head to a buffer, in the form the original writes.

/// Appends nil.
pub fn put_nil(out: &mut Vec<u8>) {
    out.push(0xc0);
}

/// Appends a bool.
pub fn put_bool(out: &mut Vec<u8>, value: bool) {
    out.push(if value { 0xc3 } else { 0xc2 });
}

/// Appends a number in its shortest form.
pub fn put_uint(out: &mut Vec<u8>, value: u64) {
    if value < 0x80 {
        out.push(value as u8);
    } else if let Ok(v) = u8::try_from(value) {
        out.extend_from_slice(&[0xcc, v]);
    } else if let Ok(v) = u16::try_from(value) {
        out.push(0xcd);
        out.extend_from_slice(&v.to_be_bytes());
    } else if let Ok(v) = u32::try_from(value) {
        out.push(0xce);
        out.extend_from_slice(&v.to_be_bytes());
    } else {
        out.push(0xcf);
        out.extend_from_slice(&value.to_be_bytes());
    }
}

/// Appends a signed number in its shortest form; without a sign it takes the unsigned forms.
pub fn put_int(out: &mut Vec<u8>, value: i64) {
    if let Ok(v) = u64::try_from(value) {
        put_uint(out, v);
    } else if value >= -32 {
        out.push(value as u8);
    } else if let Ok(v) = i8::try_from(value) {
        out.extend_from_slice(&[0xd0, v as u8]);
    } else if let Ok(v) = i16::try_from(value) {
        out.push(0xd1);
        out.extend_from_slice(&v.to_be_bytes());
    } else if let Ok(v) = i32::try_from(value) {
        out.push(0xd2);
        out.extend_from_slice(&v.to_be_bytes());
    } else {
        out.push(0xd3);
        out.extend_from_slice(&value.to_be_bytes());
    }
}

/// Appends a 32-bit float.
pub fn put_f32(out: &mut Vec<u8>, value: f32) {
    out.push(0xca);
    out.extend_from_slice(&value.to_be_bytes());
}

/// Appends a 64-bit float.
pub fn put_f64(out: &mut Vec<u8>, value: f64) {
    out.push(0xcb);
    out.extend_from_slice(&value.to_be_bytes());
}

/// Appends a string or bytes. Longer than 4 GiB does not exist here: frames are bounded far below.
pub fn put_raw(out: &mut Vec<u8>, bytes: &[u8]) {
    put_raw_head(out, bytes.len());
    out.extend_from_slice(bytes);
}

/// Appends what precedes `len` bytes of a string.
pub fn put_raw_head(out: &mut Vec<u8>, len: usize) {
    if len < 32 {
        out.push(0xa0 | len as u8);
    } else if let Ok(v) = u16::try_from(len) {
        out.push(0xda);
        out.extend_from_slice(&v.to_be_bytes());
    } else {
        out.push(0xdb);
        out.extend_from_slice(&u32::try_from(len).unwrap_or(u32::MAX).to_be_bytes());
    }
}

/// Appends a string.
pub fn put_str(out: &mut Vec<u8>, text: &str) {
    put_raw(out, text.as_bytes());
}

/// Appends bytes, nil when there are none: an empty value is read back as nil anyway.
pub fn put_bytes_or_nil(out: &mut Vec<u8>, bytes: &[u8]) {
    if bytes.is_empty() {
        put_nil(out)
    } else {
        put_raw(out, bytes)
    }
}

/// Appends the head of an array.
pub fn put_array(out: &mut Vec<u8>, len: u32) {
    put_head(out, len, 0x90, 0xdc, 0xdd);
}

/// Appends the head of a map.
pub fn put_map(out: &mut Vec<u8>, len: u32) {
    put_head(out, len, 0x80, 0xde, 0xdf);
}

fn put_head(out: &mut Vec<u8>, len: u32, fix: u8, wide: u8, wider: u8) {
    if len < 16 {
        out.push(fix | len as u8);
    } else if let Ok(v) = u16::try_from(len) {
        out.push(wide);
        out.extend_from_slice(&v.to_be_bytes());
    } else {
        out.push(wider);
        out.extend_from_slice(&len.to_be_bytes());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_take_their_shortest_form() {
        let hex = |value: i64| {
            let mut out = Vec::new();
            put_int(&mut out, value);
            out.iter().map(|b| format!("{b:02x}")).collect::<String>()
        };
        for (value, want) in [
            (0, "00"),
            (127, "7f"),
            (128, "cc80"),
            (255, "ccff"),
            (256, "cd0100"),
            (65_536, "ce00010000"),
            (1 << 32, "cf0000000100000000"),
            (-1, "ff"),
            (-32, "e0"),
            (-33, "d0df"),
            (-128, "d080"),
            (-129, "d1ff7f"),
            (-32_769, "d2ffff7fff"),
            (i64::MIN, "d38000000000000000"),
        ] {
            assert_eq!(hex(value), want, "{value}");
        }
    }

    #[test]
    fn strings_never_use_the_newer_markers() {
        for (len, head) in [
            (0, vec![0xa0]),
            (31, vec![0xbf]),
            (32, vec![0xda, 0, 32]),
            (65_536, vec![0xdb, 0, 1, 0, 0]),
        ] {
            let mut out = Vec::new();
            put_raw(&mut out, &vec![b'x'; len]);
            assert_eq!(&out[..head.len()], head);
            assert_eq!(out.len(), head.len() + len);
        }
    }
}
