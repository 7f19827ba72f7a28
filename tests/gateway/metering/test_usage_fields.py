"""The list of usage fields and the tables hold the same columns, of the same types."""

from django.db import connection

from gateway.api.usage_serializers import HoursRowSerializer, UsageSerializer
from gateway.metering.usage_fields import FIELDS, SHOWN, SUMS
from gateway.models import UsageHour, UsageRecord
from sardeenz.cli import usage

LONG = {
    "text": "varchar",
    "int": "integer",
    "bigint": "bigint",
    "bool": "boolean",
    "float8": "double precision",
    "jsonb": "jsonb",
}
"""What a column is called where the list says this; a status fits into a smaller one."""
OF_A_CALL = {"id", "key_id", "team_id", "at"}
OF_AN_HOUR = {"id", "key_id", "team_id", "hour", "served_name"}


def test_a_record_has_the_columns_of_the_list_and_no_others() -> None:
    columns = {column.column: column for column in UsageRecord._meta.concrete_fields}
    assert set(columns) == OF_A_CALL | {field.name for field in FIELDS}
    for field in FIELDS:
        column = (columns[field.name].db_type(connection) or "").partition("(")[0].replace("smallint", "integer")
        assert column == LONG[field.sql_type], field.name


def test_an_hour_has_the_sums_of_the_list_and_no_others() -> None:
    columns = {column.column: column for column in UsageHour._meta.concrete_fields}
    assert set(columns) == OF_AN_HOUR | set(SUMS)
    summed = {field.name: field.sql_type for field in FIELDS if field.summed}
    assert {name: columns[name].db_type(connection) for name in summed} == {
        name: "double precision" if sql_type == "float8" else "bigint" for name, sql_type in summed.items()
    }


def test_a_field_is_shown_as_the_table_has_it() -> None:
    assert tuple(UsageSerializer.Meta.fields)[-len(SHOWN) :] == SHOWN
    assert set(SUMS) <= set(HoursRowSerializer.Meta.fields)
    assert set(usage._SUMS) <= set(SUMS)
