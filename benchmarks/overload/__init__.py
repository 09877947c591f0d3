"""
``python -m benchmarks.overload``: what a well-behaved pair of clients notices while others attack the broker.

`doors` and `traffic` hold the attacks, `attack` is the process that carries one out, `pair` measures,
`ordeal` puts a broker through an attack, and ``__main__`` puts several brokers through all of them.
"""
