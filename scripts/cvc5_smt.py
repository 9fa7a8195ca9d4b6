"""Answers an SMT-LIB file with cvc5, which reasons about products and quotients as integers. What halmos calls.

Bit by bit, as other solvers do it, the rule of the limits takes hours: `a * b / 10_000 >= c` for unknown numbers of 64
bits. As integers it takes a second. Run by the Python of .tools/analysis: `cvc5_smt.py FILE`.
"""

import sys

import cvc5


def main(path: str) -> None:
    """Prints what each command of the file says: `unsat`, or `sat` and a model."""
    solver = cvc5.Solver()
    solver.setOption("solve-bv-as-int", "sum")
    solver.setOption("produce-models", "true")
    parser = cvc5.InputParser(solver)
    parser.setFileInput(cvc5.InputLanguage.SMT_LIB_2_6, path)
    while not (command := parser.nextCommand()).isNull():
        if said := str(command.invoke(solver, parser.getSymbolManager())).strip():
            print(said)


if __name__ == "__main__":
    main(sys.argv[1])
