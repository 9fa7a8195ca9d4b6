// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {Create3} from "@openzeppelin/contracts/utils/Create3.sol";
import {Errors} from "@openzeppelin/contracts/utils/Errors.sol";

import {Factory} from "../src/Factory.sol";
import {NotSelf} from "../src/interfaces/Types.sol";
import {Base} from "./Base.t.sol";

/// A whole deployment by the factory, at addresses that are known before its first transaction.
contract FactoryTest is Base {
    /// The CREATE2 deployer that many chains have, forge's among them.
    address internal constant DEPLOYER = 0x4e59b44847b379578588920cA78FbF26c0B4956C;

    function testCreate(bytes32 salt, address sender) public {
        vm.assume(sender != address(0) && _isFree(sender, salt));
        address expected = factory.addressOf(sender, salt);
        bytes memory code = abi.encodePacked(vm.getCode("Coin.sol:Coin"), abi.encode("A", "B", address(this), 1));

        vm.expectEmit(address(factory));
        emit Factory.Created(sender, salt, expected);
        vm.prank(sender);
        address made = factory.create(salt, code);

        assertEq(made, expected);
        assertGt(made.code.length, 0);
    }

    /// The address follows from sender and salt alone: the code, with its addresses, can be known later.
    function testAddressDoesNotFollowFromTheCode(bytes32 salt) public {
        vm.assume(_isFree(address(this), salt));
        uint256 before = vm.snapshotState();
        address one = factory.create(salt, vm.getCode("Factory.sol:Factory"));
        vm.revertToState(before);
        address other = factory.create(salt, _coin());

        assertEq(one, other);
    }

    /// Nobody takes an address that somebody else has told others.
    function testEachSenderHasItsOwnAddresses(bytes32 salt, address sender, address other) public view {
        vm.assume(sender != other);
        assertNotEq(factory.addressOf(sender, salt), factory.addressOf(other, salt));
    }

    function testCreateTwice(bytes32 salt) public {
        vm.assume(_isFree(address(this), salt));
        factory.create(salt, _coin());
        bytes memory code = _coin();
        vm.expectRevert(Errors.FailedDeployment.selector);
        factory.create(salt, code);
    }

    function testCreateNothing(bytes32 salt) public {
        vm.expectRevert(Create3.Create3EmptyBytecode.selector);
        factory.create(salt, "");
    }

    /// What a constructor says comes through, and the salt is free for the next try.
    function testCreateWhatReverts(bytes32 salt) public {
        vm.assume(_isFree(address(this), salt));
        address place = factory.addressOf(address(this), salt);
        bytes memory code = abi.encodePacked(vm.getCode("Members.sol:Members"), membersArguments());
        vm.expectRevert(abi.encodeWithSelector(NotSelf.selector, system.members, place));
        factory.create(salt, code);

        factory.create(salt, _coin());
    }

    /// The deployment of every other test: all contracts name all others, and each is where the others were told.
    function testCreateTheWholeSystem() public view {
        address[6] memory made =
            [system.members, system.ledger, system.access, system.meter, system.timelock, system.council];
        for (uint256 i; i < made.length; ++i) {
            assertGt(made[i].code.length, 0);
        }
        assertEq(members.ledger(), system.ledger);
        assertEq(members.access(), system.access);
        assertEq(members.timelock(), system.timelock);
        assertEq(ledger.members(), system.members);
        assertEq(ledger.access(), system.access);
        assertEq(ledger.meter(), system.meter);
        assertEq(ledger.timelock(), system.timelock);
        assertEq(ledger.token(), system.token);
        assertEq(access.members(), system.members);
        assertEq(access.ledger(), system.ledger);
        assertEq(access.meter(), system.meter);
        assertEq(council.members(), system.members);
        assertEq(council.timelock(), system.timelock);
    }

    /// Made by that deployer the factory has one address on all chains that have it, since its code never differs.
    function testFactoryIsMadeAtOneAddress() public {
        bytes memory code = vm.getCode("Factory.sol:Factory");
        address expected = vm.computeCreate2Address(0, keccak256(code), DEPLOYER);

        (bool done, bytes memory made) = DEPLOYER.call(abi.encodePacked(bytes32(0), code));

        assertTrue(done);
        assertEq(address(bytes20(made)), expected);
        assertGt(expected.code.length, 0);
    }

    /// The system itself was made here, by this contract.
    function _isFree(address sender, bytes32 salt) private view returns (bool) {
        return factory.addressOf(sender, salt).code.length == 0;
    }

    function _coin() private view returns (bytes memory) {
        return abi.encodePacked(vm.getCode("Coin.sol:Coin"), abi.encode("A", "B", address(this), 1));
    }
}
