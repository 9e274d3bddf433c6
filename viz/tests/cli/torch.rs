//! Files as `torch.save` writes them, byte by byte.

use super::support::Tensor;

/// A zip archive whose entries are stored as they are.
fn zip(entries: &[(String, Vec<u8>)]) -> Vec<u8> {
    let (mut body, mut directory) = (Vec::new(), Vec::new());
    for (name, data) in entries {
        let offset = body.len() as u32;
        let size = (data.len() as u32).to_le_bytes();
        // Version, flags, method, time, date, checksum, sizes, length of the name and of the extra field.
        let mut common = vec![20, 0, 0, 0, 0, 0, 0, 0, 0x21, 0];
        common.extend(crc32(data).to_le_bytes());
        common.extend(size.repeat(2));
        common.extend((name.len() as u16).to_le_bytes());
        common.extend([0, 0]);
        body.extend(b"PK\x03\x04");
        body.extend(&common);
        body.extend(name.as_bytes());
        body.extend(data);
        directory.extend(b"PK\x01\x02\x14\0");
        directory.extend(&common);
        directory.extend([0; 10]);
        directory.extend(offset.to_le_bytes());
        directory.extend(name.as_bytes());
    }
    let count = (entries.len() as u16).to_le_bytes();
    let mut end = b"PK\x05\x06\0\0\0\0".to_vec();
    end.extend(count.repeat(2));
    end.extend((directory.len() as u32).to_le_bytes());
    end.extend((body.len() as u32).to_le_bytes());
    end.extend([0, 0]);
    [body, directory, end].concat()
}

fn crc32(data: &[u8]) -> u32 {
    let step = |crc: u32, byte: &u8| {
        (0..8).fold(crc ^ u32::from(*byte), |c, _| if c & 1 == 1 { (c >> 1) ^ 0xedb8_8320 } else { c >> 1 })
    };
    !data.iter().fold(!0, step)
}

/// The format of `torch.save({name: tensor, ..}, path)` since PyTorch 1.6.
pub fn checkpoint(tensors: &[Tensor]) -> Vec<u8> {
    let text = |s: &str| [b"X".as_slice(), &(s.len() as u32).to_le_bytes(), s.as_bytes()].concat();
    let int = |n: usize| [b"J".as_slice(), &(n as i32).to_le_bytes()].concat();
    let ints = |numbers: &[usize]| [b"(".to_vec(), numbers.iter().flat_map(|n| int(*n)).collect(), b"t".to_vec()].concat();
    let mut pickle = b"\x80\x02}(".to_vec();
    let mut entries = Vec::new();
    for (i, (name, shape, values)) in tensors.iter().enumerate() {
        let strides: Vec<usize> = (0..shape.len()).map(|d| shape[d + 1..].iter().product()).collect();
        pickle.extend(text(name));
        pickle.extend(b"ctorch._utils\n_rebuild_tensor_v2\n((");
        pickle.extend([text("storage"), b"ctorch\nFloatStorage\n".to_vec(), text(&i.to_string()), text("cpu")].concat());
        // The storage, its offset, shape, strides, requires_grad and the empty hooks.
        pickle.extend([int(values.len()), b"tQ".to_vec(), int(0), ints(shape), ints(&strides)].concat());
        pickle.extend(b"\x89ccollections\nOrderedDict\n)RtR");
        entries.push((format!("archive/data/{i}"), values.iter().flat_map(|v| v.to_le_bytes()).collect()));
    }
    pickle.extend(b"u.");
    entries.insert(0, ("archive/data.pkl".to_string(), pickle));
    entries.push(("archive/version".to_string(), b"3\n".to_vec()));
    zip(&entries)
}

/// Files that would run `touch MARKER` if anything in them were executed: a bare pickle, a legacy `.th`, and a zip.
pub fn malicious(marker: &str) -> [(&'static str, Vec<u8>); 3] {
    let command = format!("touch {marker}");
    let call = [b"\x80\x02cos\nsystem\n(X".as_slice(), &(command.len() as u32).to_le_bytes(), command.as_bytes()];
    let pickle = [call.concat(), b"tR.".to_vec()].concat();
    // The magic number, the protocol, {"little_endian": True}, the object, the list of storages.
    let start = b"\x80\x02\x8a\x0al\xfc\x9cF\xf9 j\xa8P\x19.\x80\x02M\xe9\x03.\x80\x02}X\x0d\0\0\0little_endian\x88s.";
    let legacy = [start.as_slice(), &pickle, b"\x80\x02]."].concat();
    let zipped = zip(&[("archive/data.pkl".to_string(), pickle.clone()), ("archive/version".to_string(), b"3\n".to_vec())]);
    [("bare.pt", pickle), ("legacy.th", legacy), ("zipped.pth", zipped)]
}
