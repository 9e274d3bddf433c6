"""The model that Keras 2 and Keras 3 both save in each of their kinds of file, and the weights it has."""

import numpy as np

from fill import uniform


def tutorial(keras, name):
    """A convolution, batch-norm, pooling, two dense layers, in either version of `keras`."""
    L = keras.layers
    return keras.Sequential([
        L.InputLayer((14, 17, 3)),
        L.Conv2D(4, (3, 2), strides=(2, 1), padding="same", activation="relu", name="conv"),
        L.BatchNormalization(epsilon=0.002, momentum=0.9, name="norm"),
        L.MaxPooling2D(2, name="pool"),
        L.Flatten(name="flat"),
        L.Dense(5, activation="tanh", name="hidden"),
        L.Dropout(0.5, name="drop"),
        L.Dense(3, activation="softmax", name="classes"),
    ], name=name)


def filled(model):
    """`model` with weights in a closed form of their names."""
    for variable in model.weights:
        path = getattr(variable, "path", variable.name.split(":")[0]).removeprefix(f"{model.name}/")
        if "seed" in path or "count" in path:
            continue
        shape = tuple(variable.shape)
        values = 2 * uniform(f"{model.name}.{path}", 0, int(np.prod(shape))).reshape(shape) - 1
        fan_in = max(1, int(np.prod(shape[:-1])))
        positive = "variance" in path or "gamma" in path
        variable.assign(values * 0.25 + 1 if positive else values * (3 / fan_in) ** 0.5)
    for layer in model.layers:
        # What a Normalization keeps of its variables.
        if hasattr(layer, "finalize_state"):
            layer.finalize_state()
    return model
