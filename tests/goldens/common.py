"""What the makers of goldens share."""

import numpy as np
from safetensors.numpy import save_file


def report(what, single, exact):
    """Prints how far single precision lies from double: the yardstick for the tolerances of the tests."""
    error = np.abs(np.asarray(single, np.float64) - np.asarray(exact, np.float64)).max()
    print(f"  {what}: f32 against f64 {error:.2e} absolute, {error / max(np.abs(exact).max(), 1e-300):.2e} of the largest")


def save(path, tensors, metadata=None):
    save_file({k: np.ascontiguousarray(v) for k, v in tensors.items()}, path, metadata)
    print(f"wrote {path.name}: {len(tensors)} tensors, {path.stat().st_size:,} bytes")
