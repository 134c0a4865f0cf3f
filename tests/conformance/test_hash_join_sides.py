"""hash_join2, inner joins and hash_join_builder: several batch stages."""

from __future__ import annotations

from jetbridge import Pipeline

SALES = [(n, ("bern", "lyon", "nowhere")[n % 3], ("tea", "milk")[n % 2]) for n in range(60)]
SHOPS = {"bern": 1, "lyon": 2}
PRICES = {"tea": 30}


def shop(sale):
    return sale[1]


def what(sale):
    return sale[2]


def run(jet, build):
    pipeline, results = Pipeline.create(), jet.list()
    sales = pipeline.read_from(Pipeline.from_list("sales", SALES))
    shops = pipeline.read_from(Pipeline.from_list("shops", SHOPS.items()))
    prices = pipeline.read_from(Pipeline.from_list("prices", PRICES.items()))
    build(sales, shops, prices).write_to(Pipeline.to_list(results.name))
    jet.run(pipeline)
    return sorted(results.get_all(), key=repr)


def expected(keep=lambda shop, price: True):
    found = [(sale, SHOPS.get(sale[1]), PRICES.get(sale[2])) for sale in SALES]
    return sorted((row for row in found if keep(*row[1:])), key=repr)


def test_inner_hash_join(jet):
    def build(sales, shops, prices):
        return sales.inner_hash_join(shops, shop).merge(prices.filter(lambda _: False))

    results = run(jet, build)
    assert results == [row[:2] for row in expected(lambda shop, price: shop)]


def test_hash_join2(jet):
    assert run(jet, lambda sales, shops, prices: sales.hash_join2(shops, shop, prices, what)) == expected()


def test_inner_hash_join2(jet):
    def build(sales, shops, prices):
        return sales.inner_hash_join2(shops, shop, prices, what, lambda sale, number, price: (sale, number, price))

    assert run(jet, build) == expected(lambda shop, price: shop and price)


def test_hash_join_builder(jet):
    def build(sales, shops, prices):
        builder = sales.hash_join_builder()
        price, number = builder.add_inner(prices, what), builder.add(shops, shop)
        again = builder.add(shops, shop, as_list=True)
        return builder.build(lambda sale, matches: (sale, matches[number], matches[price], matches[again]))

    rows = [(*row, [] if row[1] is None else [row[1]]) for row in expected(lambda shop, price: price)]
    assert run(jet, build) == sorted(rows, key=repr)
