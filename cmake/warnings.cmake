set(WEFT_WARNINGS -Wall -Wextra -Werror -Wshadow -Wnon-virtual-dtor)
