"""The protobuf messages of Sparkplug B, as far as readings need them.

The field numbers are those of the specification 3.0, chapter 6. They are described in code, so that no generated file
has to match the installed protobuf version. Fields that are left out here (properties, data sets, templates) are
skipped by the parser.
"""

from __future__ import annotations

from enum import IntEnum
from typing import Any, Final

from google.protobuf.descriptor_pb2 import FieldDescriptorProto, FileDescriptorProto
from google.protobuf.descriptor_pool import DescriptorPool
from google.protobuf.message_factory import GetMessageClass

_FIELDS: Final = {
    "Payload": {
        "timestamp": (1, FieldDescriptorProto.TYPE_UINT64),
        "metrics": (2, FieldDescriptorProto.TYPE_MESSAGE),
        "seq": (3, FieldDescriptorProto.TYPE_UINT64),
        "uuid": (4, FieldDescriptorProto.TYPE_BYTES),
    },
    "Metric": {
        "name": (1, FieldDescriptorProto.TYPE_BYTES),
        "alias": (2, FieldDescriptorProto.TYPE_UINT64),
        "timestamp": (3, FieldDescriptorProto.TYPE_UINT64),
        "datatype": (4, FieldDescriptorProto.TYPE_UINT32),
        "is_null": (7, FieldDescriptorProto.TYPE_BOOL),
        "int_value": (10, FieldDescriptorProto.TYPE_UINT32),
        "long_value": (11, FieldDescriptorProto.TYPE_UINT64),
        "float_value": (12, FieldDescriptorProto.TYPE_FLOAT),
        "double_value": (13, FieldDescriptorProto.TYPE_DOUBLE),
        "boolean_value": (14, FieldDescriptorProto.TYPE_BOOL),
    },
}
"""Names are bytes here, the same on the wire as strings, so that one bad name does not spoil the message."""
_ONE_VALUE_OF: Final = ("int_value", "long_value", "float_value", "double_value", "boolean_value")


class DataType(IntEnum):
    """Those data types of the specification (chapter 6.4.16) whose values are readings."""

    INT8 = 1
    INT16 = 2
    INT32 = 3
    INT64 = 4
    UINT8 = 5
    UINT16 = 6
    UINT32 = 7
    UINT64 = 8
    FLOAT = 9
    DOUBLE = 10
    BOOLEAN = 11


SIGNED_BITS: Final = {DataType.INT8: 8, DataType.INT16: 16, DataType.INT32: 32, DataType.INT64: 64}


def _payload_class() -> Any:
    schema = FileDescriptorProto(name="sparkplug_b.proto", package="sparkplug", syntax="proto2")
    for message_name, fields in _FIELDS.items():
        message = schema.message_type.add(name=message_name)
        if message_name == "Metric":
            message.oneof_decl.add(name="value")
        for name, (field_number, kind) in fields.items():
            field = message.field.add(
                name=name, number=field_number, type=kind, label=FieldDescriptorProto.LABEL_OPTIONAL
            )
            if kind == FieldDescriptorProto.TYPE_MESSAGE:
                field.label = FieldDescriptorProto.LABEL_REPEATED
                field.type_name = ".sparkplug.Metric"
            if name in _ONE_VALUE_OF:
                field.oneof_index = 0
    pool = DescriptorPool()
    pool.Add(schema)
    return GetMessageClass(pool.FindMessageTypeByName("sparkplug.Payload"))


Payload: Final = _payload_class()
"""Class of the messages; a generated class, so its fields are unknown to the type checker."""
