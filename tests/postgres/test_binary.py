"""Values in binary form are shown as the server itself writes them."""

from __future__ import annotations

import psycopg
import pytest
from psycopg.rows import tuple_row

from bastion.connectors.postgres.values import BINARY, LONGEST_PARAMETER, TEXT, shown
from tests.postgres.conftest import Orders

VALUES = (
    "0::numeric", "1.50::numeric", "-12345678.000100::numeric", "0.00001234::numeric",
    "100000000::numeric", "1e20::numeric",
    "'NaN'::numeric", "'-Infinity'::numeric", "12.5::numeric(10,4)", "99999.9::numeric",
    "true", "7::int2", "-7::int4", "1::int8 << 40", "1.5::float8", "'a\nb'::text",
    "'{\"a\": 1}'::json", "'{\"a\": 1}'::jsonb",
    "'2024-02-29'::date", "'infinity'::date", "'2024-02-29 12:30:00.25'::timestamp", "'-infinity'::timestamptz",
    "'12:30:01'::time", "'10.0.0.1'::inet", "'10.0.0.0/8'::cidr", "'2001:db8::/32'::inet",
    "'a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11'::uuid", "'\\x00ff'::bytea",
    "'{1,NULL,3}'::int[]", "'{{1,2},{3,4}}'::int8[]", "ARRAY['a', 'b c', 'd\"e\\', '', 'null', NULL]", "'{}'::text[]",
    "'{1.5,2.25}'::numeric[]", "'{t,f}'::bool[]",
)  # fmt: skip


def test_all_kinds_of_values(orders: Orders) -> None:
    with psycopg.connect(
        host=str(orders.server.folder), port=orders.server.port, user="postgres", dbname="orders"
    ) as straight:
        for value in VALUES:
            text, binary = (
                straight.cursor(row_factory=tuple_row, binary=form).execute(f"SELECT {value}").pgresult
                for form in (False, True)
            )
            assert text is not None
            assert binary is not None
            oid = binary.ftype(0)
            assert shown(binary.get_value(0, 0), oid, BINARY) == shown(text.get_value(0, 0), oid, TEXT), value


@pytest.mark.parametrize("oid", [16, 20, 869, 1007, 1082, 1083, 1184, 1186, 1700, 2950, 3802])
@pytest.mark.parametrize("value", [b"", b"\x00", b"\xff" * 7, b"\x7f" * 40])
def test_what_is_no_value_of_its_type_is_shown_in_hexadecimal(oid: int, value: bytes) -> None:
    said = shown(value, oid, BINARY)
    assert said.startswith("\\x") or oid in (16, 3802, 1083)


def test_of_a_value_that_is_not_looked_at_whole_the_beginning_is_shown() -> None:
    assert shown(b"ab\x1b", 25, TEXT, LONGEST_PARAMETER, whole=5_000_000) == "ab\\x1b… (5000000 bytes)"
    assert shown(b"\x01\x02", 17, BINARY, LONGEST_PARAMETER, whole=99_999) == "\\x0102… (99999 bytes)"
