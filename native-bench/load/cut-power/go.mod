module ringmain/bench/cutpower

go 1.19
