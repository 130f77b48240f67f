"""Keys to cancel with."""

from bastion.config.targets import PostgresAccount, PostgresTarget
from bastion.connectors.postgres.cancel import CancelKeys, Cancellable


def test_process_ids_are_positive_for_drivers_that_take_them_for_signed() -> None:
    keys = CancelKeys()
    account = PostgresAccount.model_validate({"login": "reader"})
    target = PostgresTarget.model_validate(
        {
            "kind": "postgres",
            "name": "orders-db",
            "address": "db.example",
            "databases": ["orders"],
            "accounts": [account],
        }
    )
    connection = Cancellable(serial=1, target=target, account=account, key=b"\0" * 8)
    made = [keys.add(connection) for _ in range(200)]
    assert all(len(key) == 8 and int.from_bytes(key[:4], "big", signed=True) > 0 for key in made)
    assert len(set(made)) == len(made)
